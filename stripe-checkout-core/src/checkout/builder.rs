//! Builds a checkout, and refuses configurations that would later fail with real money.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
#[cfg(feature = "checkout")]
use super::page_settings::PageSettings;
use super::state::{Checkout, Inner};
#[cfg(feature = "intent")]
use super::state::{ClientKey, Payments};
use super::tasks::Tasks;
use crate::build_error::BuildError;
use crate::config::Config;
use crate::endpoint::{Endpoint, Offers};
use crate::error::InboxError;
use crate::fulfillment::{
    Engine, Fulfillment, FulfillmentHandler, Inbox, Lookup, OwnershipRule, Settings, Timed,
};
use crate::secret::{Mode, SecretKey};
use crate::telemetry;
use crate::webhook::{Payment, Verifier};

/// Which payments belong to this application. The handler receives the events of all other payments
/// as [`PaymentEvent::Other`](crate::fulfillment::PaymentEvent::Other).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Ownership {
    /// Only payments that this application made. This is the default with prices.
    ///
    /// The inbox has a row for such a payment, or its metadata names this application. The library
    /// adds that metadata to each payment.
    #[default]
    ByMetadata,
    /// Every payment of the Stripe account, but no payment of an account connected to it.
    ///
    /// This is the default of an application that has no prices and only receives events of
    /// payments.
    AllPayments,
    /// The payments for which this function returns `true`. [`Payment::account`] returns the
    /// connected account of a payment.
    Custom(Arc<dyn Fn(&Payment) -> bool + Send + Sync>),
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByMetadata => "ByMetadata",
            Self::AllPayments => "AllPayments",
            Self::Custom(_) => "Custom(..)",
        })
    }
}

/// Builds a [`Checkout`].
///
/// The builder is not generic: you can set it up in branches and choose the inbox at run time.
#[must_use = "nothing is built before `.build()`"]
pub struct CheckoutBuilder {
    config: Config,
    application: Option<String>,
    former: Vec<String>,
    ownership: Option<Ownership>,
    connect_application: Option<String>,
    #[allow(clippy::type_complexity)]
    // One closure that waits for the deadline. A type alias would not say more.
    fulfillment:
        Option<Box<dyn FnOnce(Settings, Option<Box<dyn Lookup>>) -> Arc<dyn Fulfillment> + Send>>,
    deadline: Option<Duration>,
    max_attempts: u32,
    queued: bool,
    tolerance: Duration,
    body_limit: usize,
    body_deadline: Duration,
    webhook_path: String,
    #[cfg(feature = "intent")]
    pricing: Option<Arc<dyn crate::pricing::ErasedPricing>>,
    #[cfg(feature = "intent")]
    #[allow(clippy::type_complexity)]
    // Makes the gateway. Only this closure knows the transport's type.
    gateway: Option<Box<dyn FnOnce(&Config) -> Result<crate::stripe::Gateway, BuildError> + Send>>,
    #[cfg(feature = "intent")]
    guard: Option<Arc<dyn crate::guard::ErasedGuard>>,
    #[cfg(feature = "intent")]
    customers: Option<Arc<dyn crate::customers::ErasedCustomerResolver>>,
    #[cfg(feature = "intent")]
    visitor_calls: crate::stripe::CallLimits,
    #[cfg(feature = "intent")]
    client_key: Option<Arc<ClientKey>>,
    #[cfg(feature = "intent")]
    max_declines: u32,
    #[cfg(feature = "intent")]
    cap: u64,
    #[cfg(feature = "intent")]
    descriptor_prefix: Option<String>,
    #[cfg(feature = "intent")]
    origins: Vec<String>,
    #[cfg(feature = "sessions")]
    hosted: Option<crate::requests::HostedCheckout>,
    #[cfg(feature = "checkout")]
    shop: String,
    #[cfg(feature = "checkout")]
    order_url: Option<String>,
    #[cfg(feature = "checkout")]
    account_url: Option<String>,
    #[cfg(feature = "checkout")]
    templates: Vec<(String, String)>,
}

impl fmt::Debug for CheckoutBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckoutBuilder")
            .field("config", &self.config)
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

impl CheckoutBuilder {
    fn new(config: Config) -> Self {
        Self {
            config,
            application: None,
            former: Vec::new(),
            ownership: None,
            connect_application: None,
            fulfillment: None,
            deadline: None,
            max_attempts: 20,
            queued: false,
            tolerance: Duration::from_secs(300),
            body_limit: 1024 * 1024,
            body_deadline: Duration::from_secs(15),
            webhook_path: "/webhook".into(),
            #[cfg(feature = "intent")]
            pricing: None,
            #[cfg(feature = "intent")]
            gateway: None,
            #[cfg(feature = "intent")]
            guard: None,
            #[cfg(feature = "intent")]
            customers: None,
            #[cfg(feature = "intent")]
            visitor_calls: Default::default(),
            #[cfg(feature = "intent")]
            client_key: None,
            #[cfg(feature = "intent")]
            max_declines: 10,
            #[cfg(feature = "intent")]
            cap: crate::amount::DEFAULT_CAP,
            #[cfg(feature = "intent")]
            descriptor_prefix: None,
            #[cfg(feature = "intent")]
            origins: Vec::new(),
            #[cfg(feature = "sessions")]
            hosted: None,
            #[cfg(feature = "checkout")]
            shop: "Checkout".into(),
            #[cfg(feature = "checkout")]
            order_url: None,
            #[cfg(feature = "checkout")]
            account_url: None,
            #[cfg(feature = "checkout")]
            templates: Vec::new(),
        }
    }

    /// Sets the merchant's prices, which add the checkout page and the PaymentIntents.
    ///
    /// Needs the secret key and the publishable key.
    #[cfg(feature = "intent")]
    pub fn pricing(mut self, pricing: impl crate::pricing::Pricing) -> Self {
        self.pricing = Some(Arc::new(pricing));
        self
    }

    /// Sets the merchant's prices by a closure, which receives the order that the browser names.
    ///
    /// It does the same as [`pricing`](Self::pricing) for an application whose browser sends only
    /// `?order=…`. The library calls the closure when it shows the page, and when the buyer presses
    /// *Pay*.
    ///
    /// ```
    /// use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
    /// use stripe_checkout_core::requests::PaymentRequest;
    /// use stripe_checkout_core::{Amount, Checkout, Currency, OrderRef, PricingError, Visitor};
    /// # use stripe_checkout_core::{Config, PublishableKey, SecretKey, WebhookSecret};
    /// # let config = Config::new([WebhookSecret::new("whsec_1").unwrap()]).unwrap();
    /// # let secret = SecretKey::new("sk_test_1").unwrap();
    /// # let config = config.with_keys(secret, PublishableKey::new("pk_test_1").unwrap()).unwrap();
    ///
    /// let checkout = Checkout::builder(config)
    ///     .application("my-shop")
    ///     .price_with(async |order: OrderRef, _: Visitor| match order.as_str() {
    ///         "1042" => Ok(PaymentRequest::new(order, Amount::new(19_99, Currency::EUR))),
    ///         _ => Err(PricingError::refused("We do not know this order.")),
    ///     })
    ///     .fulfillment(MemoryInbox::new(), on_paid(async |payment| {
    ///         println!("ship {:?}", payment.order_id());
    ///         Ok(())
    ///     }))
    ///     .build()?;
    /// # Ok::<(), stripe_checkout_core::BuildError>(())
    /// ```
    ///
    /// The closure may not borrow what it captures across an `.await`. Clone a pool or an `Arc`
    /// first: `move |order, visitor| { let pool = pool.clone(); async move { … } }`.
    #[cfg(feature = "intent")]
    pub fn price_with<F, Fut>(self, price: F) -> Self
    where
        F: Fn(crate::pricing::OrderRef, crate::call::Visitor) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<crate::requests::PaymentRequest, crate::pricing::PricingError>>
            + Send,
    {
        self.pricing(crate::pricing::PriceWith(price))
    }

    /// Lets buyers pay on Stripe's own page.
    ///
    /// Adds the route `POST /create-checkout-session`. Needs prices.
    #[cfg(feature = "sessions")]
    pub fn hosted_checkout(mut self, hosted: crate::requests::HostedCheckout) -> Self {
        self.hosted = Some(hosted);
        self
    }

    /// Sets the inbox that stores events, and the handler that fulfils them.
    ///
    /// They are set as a pair, because the handler uses a connection of the inbox.
    pub fn fulfillment<I, H>(mut self, inbox: I, handler: H) -> Self
    where
        I: Inbox,
        H: FulfillmentHandler<I::Connection>,
    {
        self.fulfillment = Some(Box::new(move |settings, lookup| {
            Arc::new(Engine::new(inbox, Timed(handler), settings, lookup))
        }));
        self
    }

    /// Sets the application's name. Needed with prices, and with an inbox in a database.
    ///
    /// Several applications may share one database. The name marks the application's PaymentIntents
    /// and is a part of their idempotency keys. So two applications on one Stripe account never
    /// share a PaymentIntent and never fulfil each other's orders.
    ///
    /// Do not change the name while payments are open. If you must, pass the old name to
    /// [`former_application`](Self::former_application).
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = Some(name.into());
        self
    }

    /// Adds a name that the application had before. Payments marked with it still belong to it.
    ///
    /// Add the oldest name first: the inbox keeps its data under that name. So no data is lost, and
    /// processes with either name can run side by side.
    pub fn former_application(mut self, name: impl Into<String>) -> Self {
        self.former.push(name.into());
        self
    }

    /// Decides which payments belong to this application. See [`Ownership`].
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = Some(ownership);
        self
    }

    /// Sets your Connect application (`ca_…`, in the Dashboard's Connect settings).
    ///
    /// Test mode and live mode have one each. You need it only if your inbox forgets its data at a
    /// restart and your orders are on connected accounts.
    ///
    /// After a restart such an inbox does not know its orders. A payment then counts as yours if
    /// both are true: Stripe says that your Connect application made it, and its metadata carries
    /// the mark of this application. Metadata alone does not count, because a connected account can
    /// write any metadata.
    pub fn connect_application(mut self, id: impl Into<String>) -> Self {
        self.connect_application = Some(id.into());
        self
    }

    /// Sets how long a handler may run. The default is 20 s, or 2 s with a
    /// [`SqliteInbox`](crate::fulfillment::SqliteInbox).
    ///
    /// A handler that exceeds the deadline counts as failed. The deadline is at least 1 ms and at
    /// most one day. A duration outside of these bounds counts as the nearer bound.
    pub fn handler_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how many attempts an event has before it is a dead letter (default 20, at least 1).
    ///
    /// Stripe's redeliveries count, and so do the retries of a [`worker`](Checkout::worker). A
    /// worker pauses before each retry: at first up to one second, later up to one hour.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Answers a webhook as soon as its event is stored.
    ///
    /// A [`worker`](Checkout::worker) runs the event later. Use this for slow handlers and for
    /// peaks of traffic. Needs an inbox that survives a restart, because Stripe does not redeliver
    /// an event that was acknowledged.
    pub fn queued(mut self) -> Self {
        self.queued = true;
        self
    }

    /// Sets how old a webhook's signature may be (default 300 s, which is Stripe's default).
    pub fn webhook_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the size limit of a webhook's body in bytes (default 1 MiB).
    ///
    /// On every other route the limit is 16 KiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets how long the whole body of a request may take to arrive (default 15 s).
    ///
    /// A slower request gets the status 408, on every route. The deadline is at least 1 ms and at
    /// most one day. A duration outside of these bounds counts as the nearer bound.
    ///
    /// The deadline does not bound the time before the body. The adapter's documentation shows the
    /// lines that bound the time for heads and connections.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.body_deadline = deadline.clamp(SHORTEST_BODY, LONGEST_BODY);
        self
    }

    /// Sets the webhook's path (default `/webhook`).
    ///
    /// Use this for an endpoint that the Dashboard already has. The path must differ from the
    /// checkout's other paths.
    pub fn webhook_path(mut self, path: impl Into<String>) -> Self {
        self.webhook_path = path.into();
        self
    }

    /// Replaces the pooled HTTPS client to Stripe, for example by a recorder or a fake.
    #[cfg(feature = "intent")]
    pub fn transport(mut self, transport: impl crate::stripe::Transport) -> Self {
        self.gateway = Some(Box::new(move |config| {
            crate::stripe::Gateway::with_transport(config, transport)
        }));
        self
    }

    /// Sets how many calls to Stripe visitors may cause at the same time (default 16, 1 to 100).
    ///
    /// All calls that the pages and their routes cause share this bound, and the bound of
    /// [`max_visitor_calls_per_second`](Self::max_visitor_calls_per_second). One client takes at
    /// most a quarter of both. The clients of one /48 network of IPv6 together take at most half:
    /// see [`client_key`](Self::client_key). Look-ups of ids that a stranger may have made up also
    /// take at most a quarter. A retried call counts as another call. A second look-up of one
    /// payment within a second is answered from memory.
    ///
    /// A call beyond the bound waits for up to 2 s, and clients take turns. Then the visitor gets
    /// 429, the code `rate_limited` and `Retry-After`. Webhooks, workers and the reconciler never
    /// wait here. Neither do your own calls of this [`Checkout`].
    ///
    /// Each process counts for itself: divide both bounds by the number of your processes.
    #[cfg(feature = "intent")]
    pub fn max_visitor_calls(mut self, at_once: u32) -> Self {
        self.visitor_calls.at_once = crate::stripe::CallLimits::bounded(at_once);
        self
    }

    /// Sets how many calls a second visitors may cause to each endpoint (default 20, 1 to 100).
    ///
    /// The bound holds within any second. An endpoint of Stripe is a method and a path, regardless
    /// of the ids in the path: all look-ups of PaymentIntents count together. Stripe allows 25
    /// calls a second for each endpoint ([rate limits](https://docs.stripe.com/rate-limits)), so 5
    /// are left for your own calls. Stripe allows 20 searches a second, so visitors cause at most
    /// 15 of them.
    #[cfg(feature = "intent")]
    pub fn max_visitor_calls_per_second(mut self, calls: u32) -> Self {
        self.visitor_calls.per_second = crate::stripe::CallLimits::bounded(calls);
        self
    }

    /// Identifies the client of a visitor.
    ///
    /// Clients share the bound of [`max_visitor_calls`](Self::max_visitor_calls) fairly. Without
    /// this function, or if it returns `None`, the client is the address at the other end of the
    /// connection: one IPv4 address, or one /64 network of IPv6. An address of this machine, such
    /// as 127.0.0.1, does not identify a client.
    ///
    /// Behind a proxy that address is the proxy's, and all visitors look the same. Return the
    /// address that your proxy adds:
    ///
    /// ```
    /// # use stripe_checkout_core::CheckoutBuilder;
    /// # fn set(builder: CheckoutBuilder) -> CheckoutBuilder {
    /// // nginx: proxy_set_header X-Real-IP $remote_addr;
    /// builder.client_key(|visitor| visitor.header_str("x-real-ip").map(str::to_owned))
    /// # }
    /// ```
    ///
    /// # Security warning
    /// Read only a header that the proxy overwrites. In `X-Forwarded-For` only the last address
    /// comes from the proxy: a visitor can write the others.
    #[cfg(feature = "intent")]
    pub fn client_key(
        mut self,
        key: impl Fn(&crate::call::Visitor) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.client_key = Some(Arc::new(key));
        self
    }

    /// Sets the guard, which decides which visitor may start a payment.
    ///
    /// A guard is a limit per address or a captcha, for example. Without one, all visitors may
    /// start payments. The guard also runs before each look-up of a payment: see
    /// [`GuardedAction`](crate::GuardedAction).
    #[cfg(feature = "intent")]
    pub fn guard(mut self, guard: impl crate::guard::PaymentGuard) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// Sets how to find out which of your users a visitor is. Needs [`pricing`](Self::pricing).
    ///
    /// This adds the page that saves a card without a payment, and saved cards on the checkout
    /// page. On Stripe's own page the visitor pays as the same customer.
    #[cfg(feature = "intent")]
    pub fn customers(mut self, customers: impl crate::customers::CustomerResolver) -> Self {
        self.customers = Some(Arc::new(customers));
        self
    }

    /// Sets how many attempts to pay one order may be declined (default 10, at least 1).
    ///
    /// After that the library cancels the order's PaymentIntent and makes no other one. A visitor
    /// with more declines is no real buyer, or needs help from the shop. A new order has a new
    /// reference and a new count.
    #[cfg(feature = "intent")]
    pub fn max_declines(mut self, attempts: u32) -> Self {
        self.max_declines = attempts.max(1);
        self
    }

    /// Sets the largest amount in minor units (default [`DEFAULT_CAP`](crate::DEFAULT_CAP)).
    ///
    /// The library refuses an order above it with 422.
    #[cfg(feature = "intent")]
    pub fn max_amount(mut self, minor_units: u64) -> Self {
        self.cap = minor_units;
        self
    }

    /// Sets the account's prefix of statement descriptors, which has 2 to 10 characters.
    ///
    /// The Dashboard calls it the "shortened descriptor". With the prefix, the library checks the
    /// exact length of each [suffix](crate::requests::PaymentRequest::statement_descriptor_suffix)
    /// before a buyer presses the button. Payments on a connected account use that account's
    /// prefix. The library checks them as if the prefix were not known.
    #[cfg(feature = "intent")]
    pub fn statement_descriptor_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.descriptor_prefix = Some(prefix.into());
        self
    }

    /// Allows the pages of another origin to start payments, such as `https://shop.example`.
    ///
    /// The host of the request is always allowed. You need this only behind a proxy that changes
    /// the `Host` header, for browsers that send no `Sec-Fetch-Site`.
    #[cfg(feature = "intent")]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Sets the shop's name, which the pages show.
    #[cfg(feature = "checkout")]
    pub fn shop_name(mut self, name: impl Into<String>) -> Self {
        self.shop = name.into();
        self
    }

    /// Sets the page where the buyer sees the order, such as `/orders/{reference}`.
    ///
    /// It is a path or a URL. The library replaces `{reference}` with the order's reference.
    #[cfg(feature = "checkout")]
    pub fn order_url(mut self, template: impl Into<String>) -> Self {
        self.order_url = Some(template.into());
        self
    }

    /// Sets the page where buyers see the cards that they saved.
    ///
    /// It is a path or a URL. The page offers it after a card was saved.
    #[cfg(feature = "checkout")]
    pub fn account_url(mut self, url: impl Into<String>) -> Self {
        self.account_url = Some(url.into());
        self
    }

    /// Replaces the template of a page, in Jinja's syntax.
    ///
    /// The names are `checkout.html`, `complete.html`, `setup.html`, `setup_complete.html`,
    /// `problem.html` and `layout.html`. The scripts need some ids and attributes:
    /// [`build`](Self::build) fails if one is missing.
    #[cfg(feature = "checkout")]
    pub fn template(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.templates.push((name.into(), source.into()));
        self
    }

    /// Builds the checkout and checks its configuration.
    ///
    /// Call it inside the tokio runtime that runs as long as the application: [`Checkout::handle`]
    /// does its work on that runtime. Once that runtime is dropped, every answer is 500. If the
    /// runtime is no longer driven, calls never return. A checkout that is built outside of any
    /// runtime works on the runtime of each caller.
    ///
    /// # Errors
    /// [`BuildError`] if a setting is missing, or invalid. So you find the mistake at start.
    pub fn build(self) -> Result<Checkout, BuildError> {
        let mode = self.config.mode();
        let fulfillment = self.fulfillment.ok_or(BuildError::NoFulfillment)?;
        #[cfg(feature = "intent")]
        let has_customers = self.customers.is_some();
        #[cfg(feature = "intent")]
        let payments = match self.pricing {
            None if has_customers => return Err(BuildError::CustomersWithoutPricing),
            None => None,
            Some(pricing) => {
                let (_, _publishable_key) = self.config.require_keys()?;
                if self.application.as_deref().unwrap_or_default().is_empty() {
                    return Err(BuildError::NoApplication);
                }
                #[cfg(feature = "sessions")]
                if let Some(flaw) = self.hosted.as_ref().and_then(|hosted| hosted.flaw()) {
                    return Err(BuildError::HostedCheckout { flaw });
                }
                if !self
                    .descriptor_prefix
                    .as_deref()
                    .is_none_or(crate::requests::is_prefix)
                {
                    return Err(BuildError::StatementDescriptorPrefix);
                }
                let gateway = match self.gateway {
                    Some(gateway) => gateway(&self.config)?,
                    None => crate::stripe::Gateway::new(&self.config)?,
                };
                Some(Payments {
                    pricing,
                    gateway,
                    visitor_calls: Arc::new(crate::stripe::VisitorCalls::new(self.visitor_calls)),
                    client_key: self.client_key,
                    guard: self.guard,
                    customers: self.customers,
                    max_declines: self.max_declines,
                    cap: self.cap,
                    descriptor_prefix: self.descriptor_prefix,
                    refused_emails: Default::default(),
                    origins: self.origins,
                    #[cfg(feature = "sessions")]
                    hosted: self.hosted,
                    #[cfg(feature = "checkout")]
                    page: PageSettings {
                        pages: crate::page::Pages::new(self.templates)?,
                        policy: crate::page::content_security_policy(
                            self.config.stripe_js_url(),
                            self.config.api_base(),
                        ),
                        publishable_key: _publishable_key.clone(),
                        stripe_js_url: self.config.stripe_js_url().to_owned(),
                        shop: self.shop,
                        order_url: self.order_url,
                        account_url: self.account_url,
                    },
                })
            }
        };
        #[cfg(feature = "intent")]
        let has_prices = payments.is_some();
        #[cfg(not(feature = "intent"))]
        let (has_prices, has_customers) = (false, false);
        #[cfg(feature = "sessions")]
        let has_hosted = payments
            .as_ref()
            .is_some_and(|payments| payments.hosted.is_some());
        #[cfg(not(feature = "sessions"))]
        let has_hosted = false;
        #[cfg(feature = "intent")]
        let lookup = payments
            .as_ref()
            .map(|payments| Box::new(payments.gateway.clone()) as Box<dyn Lookup>);
        #[cfg(not(feature = "intent"))]
        let lookup = None;
        #[cfg(feature = "intent")]
        let declines = payments
            .as_ref()
            .map(|payments| crate::fulfillment::DeclineLimit {
                max: payments.max_declines,
                cancel: payments.gateway.clone().into_cancel(),
            });
        #[cfg(not(feature = "intent"))]
        let declines = None;
        let settings = Settings {
            deadline: self.deadline,
            max_attempts: self.max_attempts,
            queued: self.queued,
            declines,
            config: self.config.clone(),
            connect_application: self.connect_application.clone(),
            has_sessions: has_hosted,
        };
        let fulfillment = fulfillment(settings, lookup);
        if self.queued && !fulfillment.survives_restart() {
            return Err(BuildError::MemoryQueued);
        }
        if mode == Some(Mode::Live) && !fulfillment.accepts_live() {
            return Err(BuildError::MemoryInLiveMode);
        }
        if let Some(id) = &self.connect_application {
            if id.len() <= 3 || !id.starts_with("ca_") {
                return Err(BuildError::ConnectApplication);
            }
            if !has_prices && !fulfillment.survives_restart() {
                return Err(BuildError::MemoryWithConnectedAccounts);
            }
        }
        #[cfg(feature = "intent")]
        let knows_accounts = fulfillment.survives_restart() || self.connect_application.is_some();
        let application = self.application.unwrap_or_default();
        if application.is_empty() && fulfillment.survives_restart() {
            return Err(BuildError::NoApplication);
        }
        let stored_as = self.former.first().unwrap_or(&application).clone();
        let ours = match self.ownership {
            Some(Ownership::AllPayments) => OwnershipRule::AllPayments,
            Some(Ownership::Custom(rule)) => OwnershipRule::Custom(rule),
            None if !has_prices => OwnershipRule::AllPayments,
            None | Some(Ownership::ByMetadata) => {
                let mut names = self.former;
                names.push(application.clone());
                OwnershipRule::ByMetadata(names)
            }
        };
        let offers = Offers {
            payments: has_prices,
            customers: has_customers,
            #[cfg(feature = "sessions")]
            hosted: has_hosted,
        };
        let verifier = Verifier::new(self.config.webhook_secrets()).tolerance(self.tolerance);
        let endpoints = Endpoint::table(
            offers,
            &self.webhook_path,
            self.body_limit,
            self.body_deadline,
        );
        // Frameworks disagree about two routes with one path. axum panics, or tells them apart by
        // verb. In actix-web the first route hides the second.
        let webhooks = endpoints
            .iter()
            .filter(|endpoint| endpoint.path() == self.webhook_path);
        if !is_path(&self.webhook_path) || webhooks.count() > 1 {
            return Err(BuildError::Path {
                path: self.webhook_path,
            });
        }
        telemetry::describe();
        if self
            .config
            .secret_key()
            .is_some_and(SecretKey::is_restricted)
        {
            tracing::info!(
                permissions = PERMISSIONS,
                "the secret key is a restricted one. It needs these permissions"
            );
        }
        let checkout = Checkout {
            endpoints: endpoints.into(),
            #[cfg(feature = "intent")]
            visiting: None,
            inner: Arc::new(Inner {
                application,
                stored_as,
                mode,
                own_account: self.config.account(),
                verifier,
                fulfillment,
                ours,
                body_limit: self.body_limit,
                body_deadline: self.body_deadline,
                #[cfg(feature = "intent")]
                payments,
                #[cfg(feature = "intent")]
                knows_accounts,
                tasks: Tasks::new(),
                clock: Clock::new(self.tolerance),
                deliveries: Default::default(),
            }),
        };
        checkout.be_born();
        Ok(checkout)
    }
}

/// The bounds of a body's deadline.
const SHORTEST_BODY: Duration = Duration::from_millis(1);
const LONGEST_BODY: Duration = Duration::from_secs(24 * 60 * 60);

/// The permissions that a restricted key needs, as the Dashboard lists them.
const PERMISSIONS: &str = "write: PaymentIntents; read: Events, Charges and Disputes (reconciler, late events); write, for the features that you use: Checkout Sessions, Customers, Customer Sessions, SetupIntents, PaymentMethods, Refunds";

impl Checkout {
    /// Starts a checkout with this configuration.
    ///
    /// The crate's documentation shows the ten lines that follow.
    pub fn builder(config: Config) -> CheckoutBuilder {
        CheckoutBuilder::new(config)
    }

    /// Records the inbox's birth as soon as the checkout is built inside a runtime. Without a
    /// runtime, or if this fails, the first call records it.
    fn be_born(&self) {
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let checkout = self.clone();
        drop(self.inner.tasks.spawn(async move {
            for scope in checkout.scopes() {
                match checkout.inner.fulfillment.birth(&scope).await {
                    // The log has this error already.
                    Ok(_) | Err(InboxError::OtherAccount { .. }) => {}
                    Err(error) => {
                        tracing::warn!(error = %crate::error::Chain(&error), "the inbox does not answer yet: the first call reads its birth again");
                    }
                }
            }
        }));
    }
}

/// Whether every framework and every client takes this path literally.
///
/// The path has no character that one of them reads as a parameter, and no segment that one of them
/// resolves.
fn is_path(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path
            .split('/')
            .skip(1)
            .all(|segment| !matches!(segment, "" | "." | ".."))
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}
