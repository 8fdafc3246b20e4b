//! The route table as data.
//!
//! Adapters loop over it, so that none of them can miss a route, a verb or a limit.

use std::borrow::Cow;
use std::time::Duration;

/// The verbs of the routes, and of the calls to Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `GET`. Frameworks also answer `HEAD` with it.
    Get,
    /// `POST`.
    Post,
}

impl Method {
    /// Returns the verb in capital letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// The purpose of a route. Only the core distinguishes them.
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

/// The group of routes that an endpoint belongs to, for [`Checkout::only`](crate::Checkout::only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// The page and its assets.
    Checkout,
    /// The routes that start payments, look them up, and save cards.
    ///
    /// The page's scripts call them. They are `create-payment-intent`, `create-checkout-session`,
    /// `checkout/status`, and the routes that customers need to save cards.
    Intent,
    /// The webhook. Keep it outside of login layers: Stripe cannot log in.
    Webhook,
}

/// The features that a checkout was built with, besides receiving events of payments.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "intent"), allow(dead_code))]
pub(crate) struct Offers {
    /// It has prices.
    pub(crate) payments: bool,
    /// It knows who a visitor is.
    pub(crate) customers: bool,
    /// It sends buyers to Stripe's own page.
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
    /// Returns the verb.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the path, which begins with a slash and has no parameters.
    ///
    /// It does not include the prefix under which the routes are mounted.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the group that it belongs to.
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

    /// Returns the largest body in bytes. An adapter stops reading above it.
    ///
    /// It is 16 KiB. For the webhook the [builder](crate::CheckoutBuilder::body_limit) sets it.
    pub fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// Returns how long the whole body may take to arrive. An adapter stops reading after it.
    pub fn body_deadline(&self) -> Duration {
        self.body_deadline
    }

    /// Returns every route of a checkout with these features.
    pub(crate) fn table(
        offers: Offers,
        webhook_path: &str,
        webhook_limit: usize,
        body_deadline: Duration,
    ) -> Vec<Self> {
        let mut table = Vec::new();
        #[cfg(feature = "intent")]
        let mut add = |route, method, path: &'static str| {
            // A GET reads no body. A limit of 0 would refuse an unusual client that sends a body
            // anyway.
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
