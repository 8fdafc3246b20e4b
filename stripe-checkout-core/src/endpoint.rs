//! The route table, as data: adapters loop over it, so that none can forget a route, a verb or a limit.

use std::borrow::Cow;
use std::time::Duration;

/// The verbs of the routes, and of the calls to Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `GET` (frameworks answer `HEAD` from it).
    Get,
    /// `POST`.
    Post,
}

impl Method {
    /// The verb in capital letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// What a route is for; only the core tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    #[cfg(feature = "checkout")]
    Page,
    #[cfg(feature = "checkout")]
    PageSlash,
    #[cfg(feature = "checkout")]
    CheckoutScript,
    #[cfg(feature = "checkout")]
    CompleteScript,
    #[cfg(feature = "checkout")]
    OldBrowserScript,
    #[cfg(feature = "checkout")]
    Style,
    #[cfg(feature = "checkout")]
    Complete,
    #[cfg(feature = "checkout")]
    Setup,
    #[cfg(feature = "checkout")]
    SetupComplete,
    #[cfg(feature = "intent")]
    CreateIntent,
    #[cfg(feature = "sessions")]
    CreateSession,
    #[cfg(feature = "intent")]
    Status,
    #[cfg(feature = "intent")]
    CreateSetup,
    #[cfg(feature = "intent")]
    CustomerSession,
    Webhook,
}

/// The group of routes to which an endpoint belongs, for [`Checkout::only`](crate::Checkout::only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// The page and its assets.
    Checkout,
    /// `create-payment-intent`, `create-checkout-session`, `checkout/status`, and what customers need to save cards.
    Intent,
    /// The webhook. Keep it outside of log-in layers: Stripe cannot log in.
    Webhook,
}

/// What a checkout was built to do, besides to hear of payments.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "intent"), allow(dead_code))]
pub(crate) struct Offers {
    /// It has prices.
    pub(crate) payments: bool,
    /// It knows who a visitor is.
    pub(crate) customers: bool,
    /// It leads to Stripe's own page.
    #[cfg(feature = "sessions")]
    pub(crate) hosted: bool,
}

/// The largest query, and the largest body of any route but the webhook, in bytes. An order and a
/// client secret are short.
pub(crate) const SMALL: usize = 16 * 1024;

/// One route: verb, path, and what a request may send.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) route: Route,
    method: Method,
    path: Cow<'static, str>,
    body_limit: usize,
    body_deadline: Duration,
}

impl Endpoint {
    /// The verb.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path, beginning with a slash, without the prefix under which the routes are mounted. It has no parameters.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The group to which it belongs.
    pub fn group(&self) -> Group {
        match self.route {
            #[cfg(feature = "checkout")]
            Route::Page
            | Route::PageSlash
            | Route::CheckoutScript
            | Route::CompleteScript
            | Route::OldBrowserScript
            | Route::Style
            | Route::Complete
            | Route::Setup
            | Route::SetupComplete => Group::Checkout,
            #[cfg(feature = "intent")]
            Route::CreateIntent | Route::Status | Route::CreateSetup | Route::CustomerSession => {
                Group::Intent
            }
            #[cfg(feature = "sessions")]
            Route::CreateSession => Group::Intent,
            Route::Webhook => Group::Webhook,
        }
    }

    /// The largest body in bytes: 16 KiB, and for the webhook what the
    /// [builder](crate::CheckoutBuilder::body_limit) says. An adapter stops reading above it.
    pub fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// How long the whole body may take to arrive. An adapter stops reading after it.
    pub fn body_deadline(&self) -> Duration {
        self.body_deadline
    }

    /// Every route of a checkout that offers this.
    pub(crate) fn table(
        offers: Offers,
        webhook_path: &str,
        webhook_limit: usize,
        body_deadline: Duration,
    ) -> Vec<Self> {
        let mut table = Vec::new();
        #[cfg(feature = "intent")]
        let mut add = |route, method, path: &'static str| {
            // A GET reads no body. A limit of 0 would refuse the stray body of a strange client.
            table.push(Self {
                route,
                method,
                path: path.into(),
                body_limit: SMALL,
                body_deadline,
            });
        };
        #[cfg(not(feature = "intent"))]
        let _ = offers;
        #[cfg(feature = "intent")]
        if offers.payments {
            #[cfg(feature = "checkout")]
            {
                add(Route::Page, Method::Get, "/checkout");
                add(Route::PageSlash, Method::Get, "/checkout/");
                add(Route::CheckoutScript, Method::Get, "/checkout/checkout.js");
                add(Route::CompleteScript, Method::Get, "/checkout/complete.js");
                add(
                    Route::OldBrowserScript,
                    Method::Get,
                    "/checkout/old-browser.js",
                );
                add(Route::Style, Method::Get, "/checkout/checkout.css");
                add(Route::Complete, Method::Get, "/checkout/complete");
            }
            add(Route::CreateIntent, Method::Post, "/create-payment-intent");
            #[cfg(feature = "sessions")]
            if offers.hosted {
                add(
                    Route::CreateSession,
                    Method::Post,
                    "/create-checkout-session",
                );
            }
            add(Route::Status, Method::Post, "/checkout/status");
            if offers.customers {
                #[cfg(feature = "checkout")]
                {
                    add(Route::Setup, Method::Get, "/checkout/setup");
                    add(
                        Route::SetupComplete,
                        Method::Get,
                        "/checkout/setup/complete",
                    );
                }
                add(Route::CreateSetup, Method::Post, "/create-setup-intent");
                add(
                    Route::CustomerSession,
                    Method::Post,
                    "/checkout/customer-session",
                );
            }
        }
        table.push(Self {
            route: Route::Webhook,
            method: Method::Post,
            path: webhook_path.to_owned().into(),
            body_limit: webhook_limit,
            body_deadline,
        });
        table
    }
}
