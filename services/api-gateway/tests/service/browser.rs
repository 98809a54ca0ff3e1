//! A headless Chromium, driven by its DevTools protocol (<https://chromedevtools.github.io/devtools-protocol/>).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use service_testing::eventually;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const DEADLINE: Duration = Duration::from_secs(30);

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) width: u32,
    pub(crate) dark: bool,
}

/// A page in a browser of its own; both end when it is dropped.
pub(crate) struct Page {
    browser: Child,
    _profile: TempDir,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    commands: u64,
    /// What the console said that is an error, and exceptions that nobody caught.
    pub(crate) errors: Vec<String>,
    /// Every address that was asked for.
    pub(crate) requests: Vec<String>,
}

impl Drop for Page {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        drop(self.browser.kill());
        drop(self.browser.wait());
    }
}

impl Page {
    /// Starts a browser with an empty profile and opens a page.
    pub(crate) async fn open(url: &str, view: View) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser = start(profile.path());
        let socket = connect_async(address(profile.path())).await.unwrap().0;
        let mut page = Self { browser, _profile: profile, socket, session: None, commands: 0, errors: Vec::new(), requests: Vec::new() };
        let target = page.command("Target.createTarget", json!({"url": "about:blank"})).await;
        let attached = page.command("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true})).await;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.command(&format!("{domain}.enable"), json!({})).await;
        }
        page.look(view).await;
        page.command("Page.navigate", json!({"url": url})).await;
        page.until("document.readyState === 'complete'").await;
        page
    }

    /// Changes how the page is looked at.
    pub(crate) async fn look(&mut self, view: View) {
        let mobile = view.width < 600;
        self.command(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile}),
        )
        .await;
        let scheme = if view.dark { "dark" } else { "light" };
        self.command("Emulation.setEmulatedMedia", json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]})).await;
    }

    /// Evaluates an expression, or waits for what it promises.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.command("Runtime.evaluate", parameters).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Asks until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) {
        let started = Instant::now();
        while self.evaluate(expression).await != true {
            let late = started.elapsed() > DEADLINE;
            let body = if late { self.evaluate("document.body.innerText").await } else { Value::Null };
            assert!(!late, "not within {DEADLINE:?}: {expression}\n{}\n{:?}", body.as_str().unwrap_or_default(), self.errors);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Presses and releases a key.
    pub(crate) async fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => panic!("no code for {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if key == "Enter" && kind == "keyDown" {
                event["text"] = json!("\r");
            }
            self.command("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Types a text where the focus is.
    pub(crate) async fn write(&mut self, text: &str) {
        self.command("Input.insertText", json!({"text": text})).await;
    }

    /// Keeps a picture of the whole page in the folder that `SCREENSHOTS` names, if it does.
    pub(crate) async fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("SCREENSHOTS") else { return };
        let picture = self.command("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true})).await;
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), bytes).unwrap();
    }

    async fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.commands += 1;
        let id = self.commands;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        loop {
            let message = tokio::time::timeout(DEADLINE, self.socket.next()).await;
            let message = message.unwrap_or_else(|_| panic!("{method}: no answer")).unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let told: Value = serde_json::from_str(&text).unwrap();
            if told["id"] == id {
                assert!(told.get("error").is_none(), "{method}: {told}");
                return told["result"].clone();
            }
            self.note(&told);
        }
    }

    fn note(&mut self, told: &Value) {
        let parameters = &told["params"];
        match told["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.errors.push(parameters["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if ["error", "warning", "assert"].contains(&parameters["type"].as_str().unwrap_or_default()) => {
                self.errors.push(parameters["args"].to_string());
            }
            "Log.entryAdded" if parameters["entry"]["level"] != "info" && parameters["entry"]["level"] != "verbose" => {
                self.errors.push(parameters["entry"].to_string());
            }
            "Network.requestWillBeSent" => self.requests.push(parameters["request"]["url"].as_str().unwrap_or_default().to_owned()),
            _ => {}
        }
    }
}

fn start(profile: &Path) -> Child {
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--disable-background-networking"]);
    command.args([
        "--disable-component-update",
        "--disable-sync",
        "--disable-default-apps",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
    ]);
    // Its own sandbox needs namespaces that containers and root don't get; it only ever opens pages of this test.
    command.arg("--no-sandbox").arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started.unwrap_or_else(|error| panic!("chromium can't be started ({error}); tests/packages.sh browser installs it"))
}

/// Waits until the browser has written where it listens.
fn address(profile: &Path) -> String {
    let file = profile.join("DevToolsActivePort");
    let told = || {
        let text = std::fs::read_to_string(&file).ok()?;
        let (port, path) = text.split_once('\n')?;
        Some(format!("ws://127.0.0.1:{port}{}", path.trim())).filter(|_| !path.is_empty())
    };
    tokio::task::block_in_place(|| eventually("the browser listens", told)).unwrap()
}
