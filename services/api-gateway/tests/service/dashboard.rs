//! The dashboard as a browser shows it.

use feature_api::feature::State;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::browser::{Page, View};
use crate::day::{HOSTILE, fill, id};
use crate::double::Double;
use crate::issuer::{AUDIENCE, Issuer, Key};
use crate::{open_gateway, started};

const LIGHT: View = View { width: 1280, dark: false };
const DARK: View = View { width: 1280, dark: true };
const NARROW: View = View { width: 360, dark: false };

/// Opens the dashboard of a gateway in front of `double`, and waits for its features.
async fn dashboard(double: &Double, view: View) -> (service_testing::Service, Page) {
    let away = format!("feature-service={0},repository-service=http://127.0.0.1:1", double.url);
    let (gateway, url) = open_gateway(&double.url, &[("DASHBOARD_SERVICES", &away)]);
    let mut page = Page::open(&url, view).await;
    page.until("document.getElementById('live').dataset.live === 'live'").await;
    page.until("document.querySelectorAll('.row').length > 9 && document.querySelectorAll('.service').length === 2").await;
    (gateway, page)
}

fn check_clean(page: &Page) {
    assert!(page.errors.is_empty(), "{:#?}", page.errors);
    let foreign: Vec<_> = page.requests.iter().filter(|url| !url.starts_with("http://127.0.0.1:")).collect();
    assert!(!page.requests.is_empty() && foreign.is_empty(), "{foreign:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn features_are_shown_and_follow_their_events() {
    let double = Double::start().await;
    fill(&double);
    let (_gateway, mut page) = dashboard(&double, LIGHT).await;
    assert_eq!(
        page.evaluate("[...document.querySelectorAll('.row .state')].map(state => state.textContent).join()").await,
        "Pending,Analyzing,Planning,Executing,Verifying,Completed,Failed,Failed,Completed,Cancelled"
    );
    double.advance(&id(10), State::Analyzing, None);
    page.until("document.querySelector('.row .state').textContent === 'Analyzing'").await;
    page.until("document.querySelector('#events li').textContent.includes('Pending → Analyzing')").await;
    double.advance(&id(8), State::Failed, Some("no plan"));
    page.until("[...document.querySelectorAll('.row')].some(row => row.textContent.includes('no plan'))").await;
    page.until("document.getElementById('announce').textContent === 'team/website: Failed'").await;
    page.evaluate("document.querySelector('[data-filter=FAILED]').click()").await;
    page.until("document.querySelectorAll('.row').length === 3").await;
    assert_eq!(page.evaluate("document.querySelector('[data-filter=FAILED] .count').textContent").await, "3");
    let services = page.evaluate("[...document.querySelectorAll('.service')].map(service => service.dataset.status).join()").await;
    assert_eq!(services, "ready,unreachable");
    check_clean(&page);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_shows_its_steps_and_can_be_cancelled() {
    let double = Double::start().await;
    fill(&double);
    let (_gateway, mut page) = dashboard(&double, LIGHT).await;
    page.evaluate(&format!("location.hash = 'feature={}'", id(3))).await;
    page.until("document.querySelectorAll('.step').length === 5").await;
    let verify = page.evaluate("document.querySelector('.step[data-outcome=failed]').innerText").await;
    assert!(verify.as_str().unwrap().contains("3 attempts: exit code 1"), "{verify}");
    assert_eq!(page.evaluate("document.querySelector('.why').textContent.startsWith('verification failed')").await, true);
    page.picture("detail-failed").await;
    page.evaluate(&format!("location.hash = 'feature={}'", id(5))).await;
    page.until("document.querySelectorAll('.step').length === 6 && document.querySelectorAll('.artifacts a').length === 2").await;
    // The longest step has the longest bar, and begins where the one before ended.
    let bars = page.evaluate("[...document.querySelectorAll('.step .bar i')].map(bar => [parseFloat(bar.style.getPropertyValue('--from')), parseFloat(bar.style.getPropertyValue('--part'))])").await;
    let bars: Vec<(f64, f64)> = serde_json::from_value(bars).unwrap();
    assert!(bars.windows(2).all(|pair| (pair[0].0 + pair[0].1 - pair[1].0).abs() < 2.0), "{bars:?}");
    assert!(bars.iter().all(|bar| bar.1 <= bars[4].1), "{bars:?}");
    page.picture("detail-completed").await;
    page.evaluate(&format!("location.hash = 'feature={}'", id(7))).await;
    page.until("document.querySelector('[data-action=cancel]') !== null").await;
    page.evaluate("document.querySelector('[data-action=cancel]').click()").await;
    page.until("document.querySelector('.row[aria-current] .state').textContent === 'Cancelled'").await;
    page.until("document.querySelector('[data-action=cancel]') === null").await;
    check_clean(&page);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_features_is_never_more_than_text() {
    let double = Double::start().await;
    fill(&double);
    let (_gateway, mut page) = dashboard(&double, LIGHT).await;
    page.evaluate(&format!("location.hash = 'feature={}'", id(4))).await;
    page.until("document.querySelectorAll('.step').length === 1 && document.querySelectorAll('.history li').length === 1").await;
    for place in [".why", ".step .note", ".history", ".row [data-why]", "#events"] {
        let shown = page
            .evaluate(&format!("[...document.querySelectorAll('{place}')].some(place => place.textContent.includes('<img src=x'))"))
            .await;
        assert_eq!(shown, true, "{place} shows the text as it is");
    }
    assert_eq!(page.evaluate("document.querySelectorAll('img, main script, .artifacts a').length").await, 0);
    assert_eq!(page.evaluate("document.title").await, "Feature platform");
    check_clean(&page);
}

/// Returns elements with text whose colours differ too little (WCAG 2.2, 1.4.3), or which reach out of the page.
const FLAWS: &str = r"(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const colour = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = (rgb) => rgb.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => { for (; node; node = node.parentElement) { const c = colour(getComputedStyle(node).backgroundColor); if (c[3] > 250) return c; } return colour('white'); };
  // Not innerWidth: on a small screen that grows with what is too wide.
  const width = document.documentElement.clientWidth;
  const flaws = [];
  for (const node of document.body.querySelectorAll('*')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('.unseen, .skip, svg')) continue;
    const [one, other] = [light(colour(getComputedStyle(node).color)), light(ground(node))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) flaws.push(`${node.className || node.tagName}: contrast ${contrast.toFixed(2)}`);
    const box = node.getBoundingClientRect();
    if (box.right > width + 1 || box.left < -1) flaws.push(`${node.className || node.tagName}: from ${box.left} to ${box.right}`);
  }
  if (document.documentElement.scrollWidth > width) flaws.push(`the page is ${document.documentElement.scrollWidth} wide`);
  return flaws;
})()";

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_read_in_light_in_dark_and_on_a_narrow_screen() {
    let double = Double::start().await;
    fill(&double);
    let (_gateway, mut page) = dashboard(&double, LIGHT).await;
    let mut grounds = Vec::new();
    for (name, view) in [
        ("light", LIGHT),
        ("dark", DARK),
        ("narrow", NARROW),
        ("narrow-dark", View { dark: true, ..NARROW }),
        ("wide", View { width: 1920, dark: false }),
    ] {
        page.look(view).await;
        for hash in [String::new(), format!("feature={}", id(3))] {
            page.evaluate(&format!("location.hash = '{hash}'")).await;
            page.until(&format!("document.querySelectorAll('.step').length === {}", if hash.is_empty() { 0 } else { 5 })).await;
            let flaws = page.evaluate(FLAWS).await;
            assert_eq!(flaws, json!([]), "{name} {hash}");
            page.picture(&format!("{name}{}", if hash.is_empty() { "" } else { "-open" })).await;
        }
        grounds.push(page.evaluate("getComputedStyle(document.body).backgroundColor").await);
    }
    assert_ne!(grounds[0], grounds[1], "dark is dark");
    // Each state has a sign of its own: nobody needs to see colours.
    let signs = page.evaluate("[...document.querySelectorAll('.row .state use')].map(sign => sign.getAttribute('href'))").await;
    let signs: std::collections::BTreeSet<String> = serde_json::from_value(signs).unwrap();
    assert_eq!(signs.len(), 8, "{signs:?}");
    check_clean(&page);
}

async fn focused(page: &mut Page) -> String {
    let place = "(() => { const at = document.activeElement; return at.id || at.dataset.action || at.dataset.filter || at.getAttribute('href') || at.className || at.tagName })()";
    page.evaluate(place).await.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_done_with_the_keyboard() {
    let double = Double::start().await;
    fill(&double);
    let (_gateway, mut page) = dashboard(&double, LIGHT).await;
    page.press("Tab").await;
    assert_eq!(focused(&mut page).await, "#features", "the first stop leads past the head");
    // Not before it has slid into sight.
    page.until("getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).top === 'solid0px'").await;
    page.press("Enter").await;
    page.until("document.activeElement.id === 'features'").await;
    let row = |index: u32| format!("#feature={}", id(index));
    let mut stops = Vec::new();
    for _ in 0..6 {
        page.press("Tab").await;
        stops.push(focused(&mut page).await);
    }
    assert_eq!(stops, ["all", "running", "COMPLETED", "FAILED", "CANCELLED", &row(10)], "one stop for the whole list");
    for (key, index) in [
        ("ArrowDown", 9),
        ("ArrowDown", 8),
        ("ArrowUp", 9),
        ("End", 1),
        ("ArrowDown", 1),
        ("Home", 10),
        ("ArrowDown", 9),
        ("ArrowDown", 8),
        ("ArrowDown", 7),
    ] {
        page.press(key).await;
        assert_eq!(focused(&mut page).await, row(index), "{key}");
    }
    assert_eq!(page.evaluate("getComputedStyle(document.activeElement).outlineStyle").await, "solid", "the focus is seen");
    page.picture("keyboard").await;
    // An event that redraws the list takes nobody's place.
    double.advance(&id(9), State::Planning, None);
    page.until("document.querySelectorAll('.row')[1].textContent.includes('Planning')").await;
    assert_eq!(focused(&mut page).await, row(7));
    page.press("Enter").await;
    page.until("document.activeElement.id === 'detail'").await;
    page.press("Tab").await;
    assert_eq!(focused(&mut page).await, "close");
    page.press("Escape").await;
    page.until("document.getElementById('detail').hidden").await;
    assert_eq!(focused(&mut page).await, row(7), "back where it was opened");
    page.evaluate("document.getElementById('new').focus()").await;
    page.press("Enter").await;
    page.until("document.activeElement.id === 'repository'").await;
    page.picture("create").await;
    page.press("Enter").await;
    page.until("document.getElementById('create-problem').textContent === 'Name the repository.'").await;
    page.write("https://git.example.com/new/one.git").await;
    page.press("Tab").await;
    page.write(HOSTILE).await;
    for _ in 0..2 {
        page.press("Tab").await;
    }
    page.press("Enter").await;
    page.until("document.querySelector('#detail h2')?.textContent === 'new/one'").await;
    page.until("document.querySelectorAll('.row').length === 11").await;
    check_clean(&page);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_said_plainly() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let double = Double::start().await;
    fill(&double);
    let (gateway, url) = started(&[("OIDC_ISSUER", &issuer.url), ("OIDC_CLIENT_ID", AUDIENCE), ("FEATURE_SERVICE_URL", &double.url)]);
    let mut page = Page::open(&url, LIGHT).await;
    page.until("document.getElementById('problem-text').textContent === 'a bearer token is needed'").await;
    page.picture("refused").await;
    page.evaluate("document.getElementById('problem-action').click()").await;
    page.until("document.activeElement.id === 'token'").await;
    page.write(&key.sign(&issuer.claims("ada"))).await;
    page.press("Enter").await;
    page.until("document.getElementById('live')?.dataset.live === 'live' && document.querySelectorAll('.row').length === 10").await;
    assert_eq!(page.evaluate("document.getElementById('problem').hidden").await, Value::Bool(true));
    drop(gateway);
    page.until("document.getElementById('problem-text').textContent.includes('can’t be reached')").await;
    assert_eq!(page.evaluate("document.body.hasAttribute('data-old')").await, Value::Bool(true));
    page.picture("away").await;
}
