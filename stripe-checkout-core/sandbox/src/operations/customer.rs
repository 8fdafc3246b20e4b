//! `/v1/customers`: <https://docs.stripe.com/api/customers>.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        ids,
        objects::customer::Customer,
        params::{MetadataChange, Params},
        store::{Cause, Store},
    },
    list::Page,
    shared_params::{looks_like_email, merge_metadata, read_address},
};

/// The fields that a request may set.
struct Details {
    metadata: Option<Option<MetadataChange>>,
    email: Option<Option<String>>,
    name: Option<Option<String>>,
    phone: Option<Option<String>>,
    description: Option<Option<String>>,
    address: Option<Option<Value>>,
    shipping: Option<Option<Value>>,
    preferred_locales: Option<Vec<String>>,
    default_payment_method: Option<Option<String>>,
}

impl Details {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        let email = params.setting_up_to("email", 512)?;
        if let Some(Some(email)) = &email
            && !looks_like_email(email)
        {
            return Err(ApiError::invalid(format!("Invalid email address: {email}"))
                .code("email_invalid")
                .param("email"));
        }
        let address = match params.group("address")? {
            None => None,
            Some(None) => Some(None),
            Some(Some(group)) => Some(Some(read_address(group)?)),
        };
        let shipping = match params.group("shipping")? {
            None => None,
            Some(None) => Some(None),
            Some(Some(group)) => Some(Some(read_shipping(group)?)),
        };
        let mut default_payment_method = None;
        if let Some(Some(mut settings)) = params.group("invoice_settings")? {
            default_payment_method = settings.setting("default_payment_method")?;
            settings.finish()?;
        }
        let details = Self {
            metadata: params.metadata()?,
            email,
            name: params.setting_up_to("name", 256)?,
            phone: params.setting_up_to("phone", 20)?,
            description: params.setting_up_to("description", 1000)?,
            address,
            shipping,
            preferred_locales: params.list("preferred_locales")?,
            default_payment_method,
        };
        Ok(details)
    }

    fn apply(self, customer: &mut Customer) -> Result<(), ApiError> {
        fn set<T>(field: &mut Option<T>, given: Option<Option<T>>) {
            if let Some(value) = given {
                *field = value;
            }
        }
        if let Some(change) = self.metadata {
            merge_metadata(&mut customer.metadata, change)?;
        }
        set(&mut customer.email, self.email);
        set(&mut customer.name, self.name);
        set(&mut customer.phone, self.phone);
        set(&mut customer.description, self.description);
        set(&mut customer.address, self.address);
        set(&mut customer.shipping, self.shipping);
        set(
            &mut customer.default_payment_method,
            self.default_payment_method,
        );
        if let Some(locales) = self.preferred_locales {
            customer.preferred_locales = locales;
        }
        Ok(())
    }
}

fn read_shipping(mut group: Params) -> Result<Value, ApiError> {
    let name = group.required_text("name")?;
    let address = match group.group("address")? {
        Some(Some(address)) => read_address(address)?,
        _ => return Err(group.missing("address")),
    };
    let phone = group.setting("phone")?.flatten();
    group.finish()?;
    Ok(json!({ "address": address, "name": name, "phone": phone }))
}

impl Store {
    pub(crate) fn create_customer(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let details = Details::read(&mut params)?;
        let method = params.text("payment_method")?;
        params.finish()?;
        let mut customer = Customer {
            id: ids::id("cus"),
            account: caller.account.clone(),
            created: ids::now(),
            deleted: false,
            email: None,
            name: None,
            phone: None,
            description: None,
            address: None,
            shipping: None,
            metadata: BTreeMap::new(),
            preferred_locales: Vec::new(),
            default_payment_method: None,
        };
        let default = details.default_payment_method.clone().flatten();
        details.apply(&mut customer)?;
        let id = customer.id.clone();
        let rendered = customer.render();
        let method = match method {
            Some(name) => Some(self.attachable(caller, &name, &id)?),
            None => None,
        };
        if let Some(default) = default
            && Some(&default) != method.as_ref()
        {
            return Err(ApiError::invalid(format!(
                "The customer does not have a payment method with the ID {default}. The payment method must be attached to the customer."
            ))
            .code("resource_missing")
            .param("invoice_settings[default_payment_method]"));
        }
        self.customers.insert(customer);
        let cause = Cause::request(caller);
        self.emit(&cause, "customer.created", rendered.clone());
        if let Some(method) = method {
            self.attach(&cause, &method, &id);
        }
        Ok(rendered)
    }

    pub(crate) fn retrieve_customer(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        // A deleted customer is returned as deleted.
        self.customers
            .get(caller.account.as_deref(), id)
            .map(Customer::render)
            .ok_or_else(|| no_such(StatusCode::NOT_FOUND, id, "id"))
    }

    pub(crate) fn update_customer(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let details = Details::read(&mut params)?;
        params.finish()?;
        let before = self.customer(caller, id, StatusCode::NOT_FOUND, "id")?;
        let mut changed = before.clone();
        if let Some(Some(method)) = &details.default_payment_method {
            self.must_be_usable(caller, method, Some(id))?;
        }
        details.apply(&mut changed)?;
        let (old, new) = (before.render(), changed.render());
        if let Some(customer) = self.customers.find_mut(id) {
            *customer = changed;
        }
        if let Some(previous) = difference(&old, &new) {
            let cause = Cause::request(caller);
            self.emit_change(&cause, "customer.updated", new.clone(), Some(previous));
        }
        Ok(new)
    }

    pub(crate) fn delete_customer(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        let object = self
            .customer(caller, id, StatusCode::NOT_FOUND, "id")?
            .render();
        let cause = Cause::request(caller);
        let methods: Vec<String> = self
            .payment_methods
            .iter()
            .filter(|method| method.customer.as_deref() == Some(id))
            .map(|method| method.id.clone())
            .collect();
        for method in methods {
            self.detach(&cause, &method);
        }
        if let Some(customer) = self.customers.find_mut(id) {
            customer.deleted = true;
        }
        self.emit(&cause, "customer.deleted", object);
        self.retrieve_customer(caller, id, Params::none())
    }

    pub(crate) fn list_customers(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let email = params.text("email")?;
        params.finish()?;
        page.render(
            "/v1/customers",
            "customer",
            caller,
            &self.customers,
            // The comparison is case-sensitive.
            |customer| !customer.deleted && (email.is_none() || customer.email == email),
            Customer::render,
        )
    }

    /// Searches customers. Of [Stripe's query language][search] it knows only `field:'value'`,
    /// joined by AND.
    ///
    /// [search]: https://docs.stripe.com/search#search-query-language
    pub(crate) fn search_customers(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let query = params.required_text("query")?;
        let limit = params.integer("limit", 1)?.unwrap_or(10).min(100);
        params.finish()?;
        let clauses = clauses(&query).ok_or_else(|| {
            ApiError::invalid(format!(
                "We were unable to parse your search query: {query}. The sandbox knows only field:'value', joined by AND."
            ))
            .param("query")
        })?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found: Vec<Value> = self
            .customers
            .newest_first(caller.account.as_deref())
            .filter(|customer| {
                !customer.deleted && clauses.iter().all(|wanted| wanted.fits(customer))
            })
            .map(Customer::render)
            .take(limit.saturating_add(1))
            .collect();
        let has_more = found.len() > limit;
        found.truncate(limit);
        Ok(json!({
            "object": "search_result",
            "data": found,
            "has_more": has_more,
            "next_page": null,
            "url": "/v1/customers/search",
        }))
    }

    /// Returns the customer, if they exist and are not deleted.
    pub(crate) fn customer(
        &self,
        caller: &Caller,
        id: &str,
        status: StatusCode,
        param: &str,
    ) -> Result<&Customer, ApiError> {
        self.customers
            .get(caller.account.as_deref(), id)
            .filter(|customer| !customer.deleted)
            .ok_or_else(|| no_such(status, id, param))
    }

    /// Refuses the id of a customer who does not exist.
    pub(crate) fn must_be_customer(
        &self,
        caller: &Caller,
        id: Option<&str>,
    ) -> Result<(), ApiError> {
        match id {
            Some(id) => self
                .customer(caller, id, StatusCode::BAD_REQUEST, "customer")
                .map(|_| ()),
            None => Ok(()),
        }
    }
}

fn no_such(status: StatusCode, id: &str, param: &str) -> ApiError {
    ApiError::no_such(status, "customer", id, param)
}

/// Returns the former values of the changed fields.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let previous: Map<String, Value> = old
        .as_object()?
        .iter()
        .filter(|(name, value)| new.get(name.as_str()) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (!previous.is_empty()).then_some(Value::Object(previous))
}

struct Clause {
    field: String,
    value: String,
}

impl Clause {
    fn fits(&self, customer: &Customer) -> bool {
        let field = match self.field.as_str() {
            "email" => customer.email.as_deref(),
            "name" => customer.name.as_deref(),
            "phone" => customer.phone.as_deref(),
            metadata => metadata
                .strip_prefix("metadata['")
                .and_then(|rest| rest.strip_suffix("']"))
                .and_then(|key| customer.metadata.get(key))
                .map(String::as_str),
        };
        field == Some(self.value.as_str())
    }
}

fn clauses(query: &str) -> Option<Vec<Clause>> {
    query
        .split(" AND ")
        .map(|clause| {
            let (field, value) = clause.trim().rsplit_once(":'")?;
            let known = matches!(field, "email" | "name" | "phone")
                || (field.starts_with("metadata['") && field.ends_with("']"));
            known.then(|| {
                Some(Clause {
                    field: field.to_owned(),
                    value: value.strip_suffix('\'')?.replace("\\'", "'"),
                })
            })?
        })
        .collect()
}
