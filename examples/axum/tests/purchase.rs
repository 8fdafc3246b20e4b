//! The program itself, as a learner runs it: started without any key, asked over HTTP, told to stop.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Longer than anything takes on a busy machine: a test that fails says so, instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running shop; killed if a test ends without stopping it.
struct Program {
    child: Child,
    host: String,
}

impl Program {
    fn command(folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shop-axum"));
        // Nothing of this machine's own settings, and no `.env` of a folder above.
        command.env_clear().current_dir(folder);
        command
    }

    fn start(folder: &Path) -> Self {
        let mut child = Self::command(folder)
            .envs([
                ("PORT", "0"),
                ("ADMIN_PASSWORD", "correct horse battery"),
                ("STRIPE_SANDBOX", "1"),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (found, host) = std::sync::mpsc::channel();
        // Read to the end, so that the program never waits for somebody to take its log.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("is open: http://") {
                    let _ = found.send(url.to_owned());
                }
            }
        });
        let host = host
            .recv_timeout(PATIENCE)
            .expect("the shop prints its address");
        Self { child, host }
    }

    fn get(&self, path: &str) -> (u16, String) {
        request(&self.host, "GET", path, &[], "")
    }

    fn order(&self, id: &str) -> Value {
        let (status, body) = self.get(&format!("/api/orders/{id}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn wait_until_paid(&self, id: &str) -> Value {
        let begin = Instant::now();
        loop {
            let order = self.order(id);
            if order["status"] == "paid" {
                return order;
            }
            assert!(begin.elapsed() < PATIENCE, "{order}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop, as systemd and Docker do, and waits until it has.
    #[cfg(unix)]
    fn stop(mut self) {
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(told.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request on a connection of its own: what is asked here needs no client.
fn request(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        !head.to_ascii_lowercase().contains("transfer-encoding"),
        "bodies here come whole"
    );
    (head[9..12].parse().unwrap(), body.to_owned())
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn attribute(html: &str, name: &str) -> String {
    let (_, rest) = html
        .split_once(&format!("{name}=\""))
        .expect("the attribute is there");
    rest.split('"').next().unwrap().replace("&#x2f;", "/")
}

/// An order with its PaymentIntent, as the page has it before the buyer presses *Pay*.
struct Purchase<'a> {
    program: &'a Program,
    id: String,
    secret: String,
    page: String,
}

impl<'a> Purchase<'a> {
    fn begin(program: &'a Program) -> Self {
        let items =
            json!({"items": [{"sku": "mug", "quantity": 2}, {"sku": "tea", "quantity": 1}]});
        let (status, body) = request(
            &program.host,
            "POST",
            "/api/orders",
            &[JSON],
            &items.to_string(),
        );
        assert_eq!(status, 201, "{body}");
        let order: Value = serde_json::from_str(&body).unwrap();
        let (status, page) = program.get(order["checkout_url"].as_str().unwrap());
        assert_eq!(status, 200, "{page}");
        let id = order["id"].as_str().unwrap().to_owned();
        let (status, body) = ask_to_pay(program, &id);
        assert_eq!(status, 200, "{body}");
        let intent: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (intent["amount"].as_u64(), intent["currency"].as_str()),
            (Some(4550), Some("eur"))
        );
        let secret = intent["clientSecret"].as_str().unwrap().to_owned();
        Self {
            program,
            id,
            secret,
            page,
        }
    }

    /// Pays with this card, as Stripe.js would; gives what the sandbox says.
    fn pay(&self, card: &str) -> Value {
        let (payment, _) = self.secret.split_once("_secret_").unwrap();
        let sandbox = attribute(&self.page, "data-stripe-js")
            .replace("http://", "")
            .replace("/stripe.js", "");
        let form = format!(
            "key={}&client_secret={}&payment_method_data[type]=card&payment_method_data[card][number]={card}\
             &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123\
             &return_url=http://{}/checkout/complete&use_stripe_sdk=true",
            attribute(&self.page, "data-publishable-key"),
            self.secret,
            self.program.host
        );
        let form_type = ("content-type", "application/x-www-form-urlencoded");
        let (_, body) = request(
            &sandbox,
            "POST",
            &format!("/v1/payment_intents/{payment}/confirm"),
            &[form_type],
            &form,
        );
        serde_json::from_str(&body).unwrap()
    }
}

fn ask_to_pay(program: &Program, id: &str) -> (u16, String) {
    request(
        &program.host,
        "POST",
        "/create-payment-intent",
        &[JSON],
        &json!({"order": id}).to_string(),
    )
}

#[test]
fn a_purchase_ends_with_one_shipment_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let purchase = Purchase::begin(&program);
    let id = purchase.id.clone();
    let intent = purchase.pay("4242424242424242");
    assert_eq!(intent["status"], "succeeded", "{intent}");
    let order = program.wait_until_paid(&id);
    assert_eq!(order["payment_intent"], intent["id"]);
    assert_eq!(
        (order["amount"].as_u64(), order["currency"].as_str()),
        (Some(4550), Some("eur"))
    );
    assert_eq!(order["shipments"].as_array().unwrap().len(), 1);

    // Paid is paid: no second intent.
    let (status, body) = ask_to_pay(&program, &id);
    assert_eq!(status, 409, "{body}");

    #[cfg(unix)]
    {
        program.stop();
        let program = Program::start(folder.path());
        assert_eq!(program.order(&id), order);
        program.stop();
    }
}

#[test]
fn a_declined_card_ships_nothing_and_a_second_one_pays() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let purchase = Purchase::begin(&program);
    let answer = purchase.pay("4000000000000002");
    assert_eq!(answer["error"]["code"], "card_declined", "{answer}");
    let order = program.order(&purchase.id);
    assert_ne!(order["status"], "paid");
    assert_eq!(order["shipments"].as_array().unwrap().len(), 0);

    // The same intent, another card.
    assert_eq!(purchase.pay("4242424242424242")["status"], "succeeded");
    let order = program.wait_until_paid(&purchase.id);
    assert_eq!(order["shipments"].as_array().unwrap().len(), 1);
}

#[test]
fn the_frameworks_own_answers_are_the_shops() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let (status, body) = program.get("/nowhere");
    assert_eq!(status, 404);
    assert!(body.contains("We looked under every stone"), "{body}");
    let (status, _) = request(&program.host, "POST", "/", &[], "");
    assert_eq!(status, 405);
    let large = "x".repeat(shop::Visit::BODY_LIMIT + 1);
    let (status, body) = request(&program.host, "POST", "/cart", &[], &large);
    assert_eq!(status, 413, "{body}");
    let (status, _) = program.get("/favicon.ico");
    assert_eq!(status, 200);
    let (status, _) = program.get("/admin");
    assert_eq!(status, 303);
}

#[test]
fn without_keys_and_without_being_told_so_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    for (vars, said) in [
        (
            vec![("STRIPE_SANDBOX", "0")],
            "STRIPE_SECRET_KEY is not set",
        ),
        (
            vec![("STRIPE_SECRET_KEY", "sk_test_123")],
            "STRIPE_WEBHOOK_SECRET is not set",
        ),
        (
            vec![
                ("STRIPE_SANDBOX", "1"),
                ("DATABASE_URL", "postgres://elsewhere"),
            ],
            "DATABASE_URL",
        ),
        (
            vec![("STRIPE_SANDBOX", "1"), ("PORT", "many")],
            "PORT must be",
        ),
    ] {
        let output = Program::command(folder.path()).envs(vars).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(error.contains(said), "{said:?} is missing in {error}");
    }
}
