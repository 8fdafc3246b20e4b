//! Chromium, driven through chromedriver as a person would use it: it waits until something is
//! visible, clicks and types.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{
        InputSource as _, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction,
    },
    elements::Element,
    error::CmdError,
    key::Key,
    wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{Tools, until};

/// More presses of the Tab key than any page of the shop has stops.
const MOST_TABS: usize = 60;

/// One browser, with one session and its own profile.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    driver: Child,
    port: u16,
    session: String,
    /// Parts of the console errors that a scenario causes itself. Each of them must appear.
    expected: Mutex<Vec<&'static str>>,
    // It holds the profile, and is deleted with this value.
    _profile: TempDir,
}

/// Starts chromedriver and returns it with its port.
///
/// chromedriver takes a free port of IPv4 and wants the same one of IPv6. If that one is taken, it
/// ends without an error, and this function starts it again, up to five times.
async fn start_driver(tools: &Tools, profile: &Path) -> (Child, u16) {
    for _ in 0..5 {
        let mut driver = Command::new(&tools.chromedriver)
            .arg("--port=0")
            // The temporary files of chromedriver and Chromium are deleted with the profile.
            .env("TMPDIR", profile)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        while let Some(line) = lines.next_line().await.expect("chromedriver speaks") {
            if let Some((_, port)) = line.rsplit_once(" successfully on port ")
                && let Ok(port) = port.trim_end_matches('.').parse()
            {
                // Later output must not fill the pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return (driver, port);
            }
        }
    }
    panic!("chromedriver says no port");
}

impl Browser {
    pub(super) async fn open(tools: &Tools) -> Self {
        let profile = tempfile::Builder::new()
            .prefix("shop-browser-")
            .tempdir()
            .expect("a folder");
        let (driver, port) = start_driver(tools, profile.path()).await;
        let folder = profile.path().join("profile");
        // Root cannot use Chromium's own sandbox. Background requests would only wait for a network
        // that may be missing.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--window-size=1280,1000",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", folder.display()));
        let capabilities = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": tools.chromium, "args": arguments },
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("an object was written")
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{}:{port}", Ipv4Addr::LOCALHOST))
            .await
            .unwrap_or_else(|error| panic!("Chromium starts: {error}"));
        let session = client.session_id().await.ok().flatten().expect("a session");
        let browser = Self {
            client,
            driver,
            port,
            session,
            expected: Mutex::default(),
            _profile: profile,
        };
        browser.watch().await;
        browser
    }

    /// Makes every page of this tab record violations of its policy.
    async fn watch(&self) {
        let script = r#"
            addEventListener("securitypolicyviolation", (event) => {
                const seen = JSON.parse(sessionStorage.getItem("violations") ?? "[]");
                seen.push(`${event.violatedDirective}: ${event.blockedURI} in ${event.documentURI}`);
                sessionStorage.setItem("violations", JSON.stringify(seen));
            });
        "#;
        self.before_each_page(script).await;
    }

    /// Runs a script in each page of this tab from now on, before any script of the page.
    pub async fn before_each_page(&self, script: &str) {
        self.devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": script }),
        )
        .await;
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.client
            .issue_cmd(Chrome {
                path: "goog/cdp/execute",
                body,
            })
            .await
            .unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    /// Blocks exactly the addresses that match these patterns, as an extension that blocks scripts
    /// does.
    pub async fn block(&self, patterns: &[&str]) {
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.setBlockedURLs", json!({ "urls": patterns }))
            .await;
    }

    /// Goes to an address.
    pub async fn goto(&self, url: &str) {
        self.client
            .goto(url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Presses the browser's back button.
    pub async fn back(&self) {
        self.client.back().await.expect("back");
    }

    /// Presses the browser's reload button.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("reload");
    }

    /// Opens another tab and switches to it. Returns the first tab for
    /// [`return_to`](Self::return_to).
    pub async fn open_tab(&self) -> Tab {
        let first = self.client.window().await.expect("a tab");
        let second = self.client.new_window(true).await.expect("another tab");
        self.client
            .switch_to_window(second.handle)
            .await
            .expect("another tab");
        self.watch().await;
        Tab(first)
    }

    /// Closes this tab and returns to the other.
    pub async fn return_to(&self, tab: Tab) {
        self.check().await;
        self.client.close_window().await.expect("the tab closes");
        self.client
            .switch_to_window(tab.0)
            .await
            .expect("the other tab");
    }

    /// Returns the current address.
    pub async fn url(&self) -> String {
        self.client.current_url().await.expect("an address").into()
    }

    /// Waits until the address contains this part, and returns the address.
    pub async fn at(&self, part: &str) -> String {
        until(&format!("an address with {part}"), async || {
            Some(self.url().await).filter(|url| url.contains(part))
        })
        .await
    }

    /// Waits until this element is visible.
    pub async fn see(&self, css: &str) -> Element {
        until(&format!("{css} is to be seen"), async || {
            self.visible(css).await.ok().flatten()
        })
        .await
    }

    /// Waits until the text of this element contains `part`, and returns the whole text.
    pub async fn read(&self, css: &str, part: &str) -> String {
        let look = async || {
            let text = self.visible(css).await.ok()??.text().await.ok()?;
            text.contains(part).then_some(text)
        };
        until(&format!("{css} says {part:?}"), look).await
    }

    /// Whether this element is visible now.
    pub async fn sees(&self, css: &str) -> bool {
        self.visible(css).await.ok().flatten().is_some()
    }

    async fn visible(&self, css: &str) -> Result<Option<Element>, CmdError> {
        for element in self.client.find_all(Locator::Css(css)).await? {
            if element.is_displayed().await? {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }

    /// Clicks this element as soon as it is clickable.
    pub async fn click(&self, css: &str) {
        let click = async || {
            let element = self.visible(css).await.ok()??;
            if !element.is_enabled().await.ok()? {
                return None;
            }
            element.click().await.ok()
        };
        until(&format!("{css} can be clicked on"), click).await;
    }

    /// Double-clicks this element as fast as possible.
    pub async fn double_click(&self, css: &str) {
        let element = self.see(css).await;
        self.script(
            "arguments[0].scrollIntoView({block: 'center'});",
            vec![json!(element)],
        )
        .await;
        let (down, up) = (
            PointerAction::Down {
                button: MOUSE_BUTTON_LEFT,
            },
            PointerAction::Up {
                button: MOUSE_BUTTON_LEFT,
            },
        );
        let mouse = MouseActions::new("mouse".to_owned())
            .then(PointerAction::MoveToElement {
                element,
                duration: None,
                x: 0.0,
                y: 0.0,
            })
            .then(down.clone())
            .then(up.clone())
            .then(down)
            .then(up);
        self.client
            .perform_actions(mouse)
            .await
            .expect("a double click");
    }

    /// Empties a field and types into it.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.see(css).await;
        field.clear().await.expect("an empty field");
        field.send_keys(text).await.expect("typing");
    }

    /// Empties a field in an iframe and types into it.
    pub async fn fill_in_frame(&self, frame: &str, css: &str, text: &str) {
        let frame = self.see(frame).await;
        frame.enter_frame().await.expect("the frame");
        self.fill(css, text).await;
        self.client.enter_parent_frame().await.expect("the page");
    }

    /// Types into the element that has the focus.
    pub async fn type_keys(&self, text: &str) {
        let keys = text
            .chars()
            .fold(KeyActions::new("keyboard".to_owned()), |keys, value| {
                keys.then(KeyAction::Down { value })
                    .then(KeyAction::Up { value })
            });
        self.client.perform_actions(keys).await.expect("typing");
    }

    /// Presses one key.
    pub async fn press(&self, key: Key) {
        self.type_keys(&char::from(key).to_string()).await;
    }

    /// Presses Tab until this element has the focus. Every element on the way must be visible.
    pub async fn tab_to(&self, css: &str) {
        let look = "
            const focused = document.activeElement;
            if (!focused || focused === document.body) return ['nothing', false, true];
            const box = focused.getBoundingClientRect();
            return [focused.outerHTML.slice(0, 120), focused.matches(arguments[0]), focused.checkVisibility() && box.width > 0 && box.height > 0];
        ";
        let mut stops = Vec::new();
        for _ in 0..MOST_TABS {
            self.press(Key::Tab).await;
            let stop = self.script(look, vec![json!(css)]).await;
            assert_eq!(
                stop[2], true,
                "the focus is on something that cannot be seen: {}",
                stop[0]
            );
            if stop[1] == true {
                return;
            }
            stops.push(stop[0].to_string());
        }
        panic!("no way to {css} by keyboard, only to\n{}", stops.join("\n"));
    }

    /// Whether this element has the focus.
    pub async fn has_focus(&self, css: &str) -> bool {
        self.script(
            "return document.activeElement?.matches(arguments[0]) ?? false;",
            vec![json!(css)],
        )
        .await
            == true
    }

    /// Runs a script in the page and returns its result.
    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client
            .execute(script, arguments)
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Expects a console error that contains this part, because the scenario causes it.
    pub fn expect_error(&self, part: &'static str) {
        self.expected.lock().expect("not poisoned").push(part);
    }

    /// Checks that the console has no other errors than the expected ones, and that no page
    /// violated its policy.
    pub(super) async fn check(&self) {
        let violations = self
            .script("return sessionStorage.getItem('violations');", vec![])
            .await;
        assert!(
            violations.is_null(),
            "the Content-Security-Policy was violated: {violations}"
        );

        let log = Chrome {
            path: "se/log",
            body: json!({ "type": "browser" }),
        };
        let log = self.client.issue_cmd(log).await.expect("the console's log");
        let expected = std::mem::take(&mut *self.expected.lock().expect("not poisoned"));
        let mut missing = expected.clone();
        for entry in log.as_array().into_iter().flatten() {
            let message = entry["message"].as_str().unwrap_or_default();
            missing.retain(|part| !message.contains(part));
            let harmless =
                entry["level"] != "SEVERE" || expected.iter().any(|part| message.contains(part));
            assert!(harmless, "the console has an error: {entry}");
        }
        assert!(
            missing.is_empty(),
            "these errors did not come: {missing:?}, but {log}"
        );
    }

    /// Describes the visible page, to help find out why a test failed.
    pub(super) async fn describe(&self) -> String {
        let text = self
            .client
            .execute("return document.body.innerText;", vec![])
            .await;
        let address = self.client.current_url().await;
        let picture = std::env::temp_dir().join(format!("shop-browser-{}.png", std::process::id()));
        if let Ok(png) = self.client.screenshot().await {
            let _ = std::fs::write(&picture, png);
        }
        format!(
            "at {address:?}, as in {}:\n{}",
            picture.display(),
            text.unwrap_or_default().as_str().unwrap_or_default()
        )
    }

    pub(super) async fn close(mut self) {
        self.quit();
        let _ = self.driver.kill().await;
    }

    /// Ends the session and with it Chromium, which chromedriver alone would leave behind.
    ///
    /// It blocks, so that it also works while a panic unwinds.
    fn quit(&self) {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            self.session
        );
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read(&mut [0; 1024]);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // For a session that is already closed, this does nothing.
        self.quit();
    }
}

/// A tab to return to.
#[derive(Debug)]
pub struct Tab(fantoccini::wd::WindowHandle);

/// A command that only chromedriver has.
#[derive(Debug)]
struct Chrome {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Chrome {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
