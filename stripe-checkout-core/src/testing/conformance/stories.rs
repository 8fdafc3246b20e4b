//! Cases of several requests, with what the merchant's side saw of them.

use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Answer, PATIENCE, Request, read_one};
use super::exchanges::signed;
use super::site::Site;
use super::world::{Application, LIMIT, NARROW, success};

type Told = Result<Vec<Answer>, String>;

/// A case that returns every response for comparison, or a failure.
pub(super) struct Story {
    pub(super) name: &'static str,
    pub(super) tell: fn(Site) -> Pin<Box<dyn Future<Output = Told> + Send>>,
}

macro_rules! stories {
    ($($name:literal => $tell:path,)*) => {
        vec![$(Story { name: $name, tell: |site| Box::pin($tell(site)) },)*]
    };
}

pub(super) fn all() -> Vec<Story> {
    stories! {
        "a handler that fails is asked again" => fails,
        "a handler that panics is an answer, the process lives, and the event is not lost" => panics,
        "a duplicate waits for the one that is worked on" => duplicate_waits,
        "a duplicate of one that hangs is told to come again" => duplicate_is_sent_away,
        "who hangs up does not cut off what began" => hangs_up,
        "by hand: who hangs up does not cut off what began" => hangs_up_by_hand,
        "who hangs up while writing is not taken" => hangs_up_while_writing,
        "a body that was cut short is not taken" => cut_short,
        "a chunked body that was cut short is not taken" => cut_short_in_chunks,
        "a payment whose body was cut short is not made" => payment_cut_short,
        "what nobody reads of a body is no request" => hidden,
        "a body that is too large is refused before it has ended" => too_large_already,
        "no other verb reaches the core" => other_verbs,
        "200 webhooks at once, half of them duplicates" => two_hundred,
        "many requests on one connection" => keep_alive,
        "a file that is known is not sent again" => not_modified,
        "a payment and its return, however it went" => returns,
        "the page's files are where the page says" => relative,
        "visitors beyond the bound of calls to Stripe are told to come again" => beyond_the_bound,
    }
}

fn check(right: bool, what: impl Into<String>) -> Result<(), String> {
    if right { Ok(()) } else { Err(what.into()) }
}

/// Returns the response, if it is the expected one.
async fn expect(
    site: &Site,
    request: &Request,
    status: u16,
    piece: &str,
) -> Result<Answer, String> {
    let answer = site.send(request).await;
    check(
        answer.status == status && answer.text().contains(piece),
        format!(
            "{} {}, not {status} with {piece:?}",
            answer.status,
            answer.text()
        ),
    )?;
    Ok(answer)
}

fn webhook(order: &str) -> Request {
    signed("/webhook", success(&format!("evt_{order}"), order))
}

fn shipped(site: &Site, order: &str, times: usize) -> Result<(), String> {
    let found = site.state.shipped(order);
    check(
        found == times,
        format!("{order} was shipped {found} times, not {times}"),
    )
}

/// Eight visitors ask at once, and the checkout sends one call a second.
///
/// A call waits at most two seconds, so most of them are refused.
async fn beyond_the_bound(site: Site) -> Told {
    let mut asking = JoinSet::new();
    for n in 0..8 {
        let site = site.clone();
        let body = format!(r#"{{"order":{{"order":"narrow-{n}"}}}}"#);
        let create = Request::new("POST", format!("{NARROW}/create-payment-intent"))
            .header("Content-Type", "application/json")
            .body(body);
        asking.spawn(async move { site.send(&create).await });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|answer| answer.status);
    let paid = answers.iter().filter(|answer| answer.status == 200).count();
    check((1..=4).contains(&paid), format!("{paid} of 8 were sent"))?;
    let refused = answers.pop().ok_or("no answer")?;
    let is_right = refused.status == 429
        && refused.text().contains("rate_limited")
        && refused.header("retry-after") == Some("1");
    check(is_right, format!("{} {}", refused.status, refused.text()))?;
    // Webhooks do not wait for visitors.
    let event = signed(
        &format!("{NARROW}/webhook"),
        success("evt_narrow", "narrow"),
    );
    let done = expect(&site, &event, 200, "done").await?;
    Ok(vec![refused, done])
}

async fn fails(site: Site) -> Told {
    let event = webhook("fails-1");
    let failed = expect(&site, &event, 500, "handler_failed").await?;
    shipped(&site, "fails-1", 0)?;
    let done = expect(&site, &event, 200, "done").await?;
    let again = expect(&site, &event, 200, "done").await?;
    shipped(&site, "fails-1", 1)?;
    Ok(vec![failed, done, again])
}

async fn panics(site: Site) -> Told {
    let event = webhook("panics-1");
    let failed = expect(&site, &event, 500, "handler_failed").await?;
    let alive = expect(&site, &webhook("after-the-panic"), 200, "done").await?;
    let done = expect(&site, &event, 200, "done").await?;
    shipped(&site, "panics-1", 1)?;
    Ok(vec![failed, alive, done])
}

async fn duplicate_waits(site: Site) -> Told {
    let gate = site.state.gate("gated-1");
    let event = webhook("gated-1");
    let first = async {
        let answer = expect(&site, &event, 200, "done").await;
        (answer, site.state.shipped("gated-1"))
    };
    let second = async {
        gate.entered().await;
        let duplicate = async { expect(&site, &event, 200, "done").await };
        let opened = async {
            // Another order does not wait.
            let other = expect(&site, &webhook("beside-gated-1"), 200, "done").await;
            gate.open();
            other
        };
        tokio::join!(duplicate, opened)
    };
    let ((first, seen), (duplicate, other)) = tokio::join!(first, second);
    check(seen == 1, "it was answered before it was done")?;
    let answers = vec![first?, duplicate?, other?];
    shipped(&site, "gated-1", 1)?;
    Ok(answers)
}

async fn duplicate_is_sent_away(site: Site) -> Told {
    let gate = site.state.gate("gated-2");
    let event = webhook("gated-2");
    let second = async {
        gate.entered().await;
        // It waits up to its limit, which is shorter than Stripe's wait for a response.
        let duplicate = expect(&site, &event, 503, "busy").await;
        gate.open();
        duplicate
    };
    let (first, duplicate) = tokio::join!(expect(&site, &event, 200, "done"), second);
    let answers = vec![first?, duplicate?];
    check(
        answers
            .iter()
            .any(|answer| answer.header("retry-after").is_some()),
        "no Retry-After",
    )?;
    shipped(&site, "gated-2", 1)?;
    Ok(answers)
}

async fn hangs_up(site: Site) -> Told {
    goes_on(&site, "gated-3", webhook("gated-3")).await
}

async fn hangs_up_by_hand(site: Site) -> Told {
    let body = success("evt_gated-4", "gated-4");
    goes_on(&site, "gated-4", signed(Application::BY_HAND, body)).await
}

async fn goes_on(site: &Site, order: &str, event: Request) -> Told {
    let gate = site.state.gate(order);
    let mut stream = TcpStream::connect(site.address)
        .await
        .map_err(|error| error.to_string())?;
    stream
        .write_all(&event.to_keep_alive())
        .await
        .map_err(|error| error.to_string())?;
    gate.entered().await;
    drop(stream);
    // A test cannot see from outside that the server has read it. After some requests it has had
    // enough time.
    for _ in 0..20 {
        expect(
            site,
            &Request::new("GET", "/checkout/checkout.css"),
            200,
            "",
        )
        .await?;
    }
    gate.open();
    // Wait for this before the second delivery, which would ship an order that was cut off.
    let ends = async {
        while site.state.shipped(order) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ends)
        .await
        .map_err(|_| "it was cut off")?;
    let duplicate = expect(site, &event, 200, "done").await?;
    shipped(site, order, 1)?;
    Ok(vec![duplicate])
}

async fn hangs_up_while_writing(site: Site) -> Told {
    let event = webhook("half");
    let mut stream = TcpStream::connect(site.address)
        .await
        .map_err(|error| error.to_string())?;
    let bytes = event.to_keep_alive();
    let half = bytes.get(..bytes.len() - 50).unwrap_or_default();
    stream
        .write_all(half)
        .await
        .map_err(|error| error.to_string())?;
    drop(stream);
    let whole = expect(&site, &event, 200, "done").await?;
    shipped(&site, "half", 1)?;
    Ok(vec![whole])
}

async fn cut_short(site: Site) -> Told {
    not_taken(&site, "cut", webhook("cut").lying(10)).await
}

async fn cut_short_in_chunks(site: Site) -> Told {
    // The event is complete, but the body has no end.
    not_taken(&site, "cut-in-chunks", webhook("cut-in-chunks").unended()).await
}

/// Checks that no server accepts an incomplete body.
///
/// Some servers respond with 400, some only close the connection.
async fn not_taken(site: &Site, order: &str, request: Request) -> Told {
    let answer = site.send(&request).await;
    check(
        [0, 400].contains(&answer.status),
        format!("{} {}", answer.status, answer.text()),
    )?;
    shipped(site, order, 0)?;
    let whole = expect(site, &webhook(order), 200, "done").await?;
    shipped(site, order, 1)?;
    Ok(vec![whole])
}

async fn payment_cut_short(site: Site) -> Told {
    // The order is known without the body.
    let request = Request::new("POST", "/create-payment-intent?order=cut")
        .header("Content-Type", "application/json");
    let (short, long) = ("{}", r#"{"order":{"order":"cut"}}"#);
    for request in [
        request.clone().body(short).lying(10),
        request.clone().body(long).lying(10),
        request.body(long).unended(),
    ] {
        let answer = site.send(&request).await;
        check(
            [0, 400].contains(&answer.status),
            format!("{} {}", answer.status, answer.text()),
        )?;
    }
    Ok(Vec::new())
}

async fn hidden(site: Site) -> Told {
    let order = "hidden-in-a-body";
    let body = [vec![b' '; LIMIT + 1], webhook(order).to_keep_alive()].concat();
    let request = Request::new("POST", "/webhook").body(body);
    let mut stream = TcpStream::connect(site.address)
        .await
        .map_err(|error| error.to_string())?;
    let (mut reading, mut writing) = stream.split();
    let mut bytes = Vec::new();
    let write = async {
        // The server may close the connection before it has read everything.
        let _ = writing.write_all(&request.to_keep_alive()).await;
        let _ = writing.shutdown().await;
    };
    let read = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut bytes));
    let _ = tokio::join!(write, read);
    let answers = String::from_utf8_lossy(&bytes).matches("HTTP/1.1 ").count();
    check(answers <= 1, format!("{answers} answers"))?;
    shipped(&site, order, 0)?;
    Ok(Vec::new())
}

async fn too_large_already(site: Site) -> Told {
    let event = Request::new("POST", "/webhook").body(vec![b' '; 10 * LIMIT]);
    let bytes = event.to_keep_alive();
    let mut stream = TcpStream::connect(site.address)
        .await
        .map_err(|error| error.to_string())?;
    // The rest never comes.
    let _ = stream
        .write_all(bytes.get(..LIMIT + 10_000).unwrap_or_default())
        .await;
    let answer = read_one(&mut stream, &event).await;
    check(answer.status == 413, format!("{answer:?}"))?;
    Ok(vec![answer])
}

/// The framework determines the response instead; its README describes it.
async fn other_verbs(site: Site) -> Told {
    for (own, path) in [
        ("GET", "/checkout?order=tea"),
        ("GET", "/checkout/?order=tea"),
        ("GET", "/checkout/checkout.js"),
        ("GET", "/checkout/complete.js"),
        ("GET", "/checkout/old-browser.js"),
        ("GET", "/checkout/checkout.css"),
        ("GET", "/checkout/complete?payment_intent=pi_x"),
        ("POST", "/create-payment-intent"),
        ("POST", "/checkout/status"),
        ("POST", "/webhook"),
        ("POST", "/shop/de/stripe/events"),
        // A checkout with only one group has no routes of the others.
        ("none", "/hooks/checkout?order=tea"),
        ("none", "/hooks/create-payment-intent"),
    ] {
        for verb in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if verb != own {
                let answer = site.send(&Request::new(verb, path)).await;
                check(
                    [404, 405].contains(&answer.status),
                    format!("{} to {verb} {path}", answer.status),
                )?;
            }
        }
    }
    Ok(Vec::new())
}

async fn two_hundred(site: Site) -> Told {
    let mut running = JoinSet::new();
    for number in 0..200 {
        let site = site.clone();
        running.spawn(async move {
            let order = format!("rush-{}", number / 2);
            (number, expect(&site, &webhook(&order), 200, "done").await)
        });
    }
    let mut answers = Vec::new();
    while let Some(ended) = running.join_next().await {
        let (number, answer) = ended.map_err(|error| error.to_string())?;
        answers.push((number, answer?));
    }
    answers.sort_by_key(|(number, _)| *number);
    for number in 0..100 {
        shipped(&site, &format!("rush-{number}"), 1)?;
    }
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

async fn keep_alive(site: Site) -> Told {
    let mut stream = TcpStream::connect(site.address)
        .await
        .map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    for order in ["kept-1", "fails-kept", "kept-2", "kept-1"] {
        let event = webhook(order);
        stream
            .write_all(&event.to_keep_alive())
            .await
            .map_err(|error| error.to_string())?;
        answers.push(read_one(&mut stream, &event).await);
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    check(statuses == [200, 500, 200, 200], format!("{statuses:?}"))?;
    shipped(&site, "kept-1", 1)?;
    shipped(&site, "kept-2", 1)?;
    Ok(answers)
}

async fn not_modified(site: Site) -> Told {
    let mut answers = Vec::new();
    for file in [
        "checkout.js",
        "complete.js",
        "old-browser.js",
        "checkout.css",
    ] {
        let get = Request::new("GET", format!("/checkout/{file}"));
        let first = expect(&site, &get, 200, "").await?;
        let etag = first.header("etag").unwrap_or_default().to_owned();
        check(!etag.is_empty(), "no ETag")?;
        let known = get
            .clone()
            .header("If-None-Match", format!("\"0\", {etag}"));
        answers.extend([first, expect(&site, &known, 304, "").await?]);
    }
    Ok(answers)
}

async fn returns(site: Site) -> Told {
    let mut answers = Vec::new();
    for (order, status) in [
        ("succeeded-1", "succeeded"),
        ("processing-1", "processing"),
        ("failed-1", "requires_payment_method"),
        ("action-1", "requires_action"),
        ("capture-1", "requires_capture"),
        ("canceled-1", "canceled"),
    ] {
        let json = |target: &str, body: String| {
            Request::new("POST", target)
                .header("Content-Type", "application/json")
                .body(body)
        };
        let create = json(
            "/create-payment-intent",
            format!(r#"{{"order":{{"order":"{order}"}}}}"#),
        );
        let secret = expect(&site, &create, 200, "clientSecret")
            .await?
            .word("clientSecret")
            .unwrap_or_default();
        let asked = format!(
            r#"{{"payment_intent":"pi_{order}","payment_intent_client_secret":"{secret}"}}"#
        );
        answers.push(
            expect(
                &site,
                &json("/checkout/status", asked),
                200,
                &format!("\"status\":\"{status}\""),
            )
            .await?,
        );
        let query = format!(
            "payment_intent=pi_{order}&payment_intent_client_secret={secret}&redirect_status=x"
        );
        let page = expect(
            &site,
            &Request::new("GET", format!("/checkout/complete?{query}")),
            200,
            "",
        )
        .await?;
        check(
            !page.text().contains(&secret),
            "the page repeats the secret",
        )?;
        answers.push(page);
    }
    Ok(answers)
}

async fn relative(site: Site) -> Told {
    let mut answers = Vec::new();
    for prefix in ["", "/shop/de"] {
        let page = expect(
            &site,
            &Request::new("GET", format!("{prefix}/checkout?order=tea")),
            200,
            "",
        )
        .await?;
        let html = page.text();
        let mut files = 0;
        for attribute in ["src=\"", "href=\""] {
            for (start, _) in html.match_indices(attribute) {
                let address = html
                    .get(start + attribute.len()..)
                    .and_then(|rest| rest.split('"').next())
                    .unwrap_or_default()
                    .replace("&#x2f;", "/");
                if address.ends_with(".js") || address.ends_with(".css") {
                    if address.contains("://") {
                        continue;
                    }
                    files += 1;
                    // Relative to `…/checkout`, as a browser resolves it.
                    let target = format!("{prefix}/{address}");
                    answers.push(expect(&site, &Request::new("GET", target), 200, "").await?);
                }
            }
        }
        check(files >= 2, format!("{files} files in the page"))?;
        answers.push(page);
        // The pages to save a card have longer paths, and name the same files.
        for (path, files) in [
            ("setup", ["checkout.js", "checkout.css"]),
            (
                "setup/complete?setup_intent=seti_x",
                ["../complete.js", "../checkout.css"],
            ),
        ] {
            let request = Request::new("GET", format!("{prefix}/checkout/{path}"));
            let page = expect(&site, &request.header("X-Member", "ada"), 200, "").await?;
            for file in files {
                let named = page.text().replace("&#x2f;", "/");
                check(
                    named.contains(&format!("\"{file}\"")),
                    format!("no {file} in {path}"),
                )?;
            }
            answers.push(page);
        }
    }
    Ok(answers)
}
