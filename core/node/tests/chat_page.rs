//! The chat page in a real browser: two people talk, are cut, lose their server, and miss nothing.

use serde_json::Value;

use crate::browser::{Browser, Page};
use crate::process::Server;
use crate::user::world;

/// More than a page of the log holds, so that catching up takes several.
const MISSED: usize = 120;

/// A person at the page.
struct Person {
    page: Page,
}

/// An entry as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    seq: u64,
    text: String,
    caught_up: bool,
}

impl Person {
    async fn arrive(
        browser: &mut Browser,
        server: &Server,
        data: &std::path::Path,
        name: &str,
    ) -> Self {
        let token = Server::token(data, name);
        let url = format!("http://{}/#token={token}", server.address);
        let page = browser.open(&url).await;
        let person = Self { page };
        person.is_live(browser).await;
        let hash = browser.value(&person.page, "location.href").await;
        assert!(
            !hash.as_str().unwrap().contains("token"),
            "the token stays in the address: {hash}"
        );
        person
    }

    async fn is_live(&self, browser: &mut Browser) {
        browser.until(&self.page, "a session", "document.querySelector('#app.live')").await;
    }

    async fn join(&self, browser: &mut Browser, channel: &str) {
        browser.click(&self.page, "#join-name").await;
        browser.write(&self.page, channel).await;
        browser.press(&self.page, "Enter").await;
        let shown = format!("document.getElementById('channel-name').textContent == '# {channel}'");
        browser.until(&self.page, channel, &shown).await;
    }

    async fn write(&self, browser: &mut Browser, text: &str) {
        browser.click(&self.page, "#body").await;
        browser.write(&self.page, text).await;
        browser.press(&self.page, "Enter").await;
    }

    /// Waits until the newest entry on the page says `text`.
    async fn sees(&self, browser: &mut Browser, text: &str) {
        let newest = "document.querySelector('#log > li:last-child')?.textContent";
        browser.until(&self.page, text, &format!("{newest}?.endsWith({text:?})")).await;
    }

    async fn shown(&self, browser: &mut Browser) -> Vec<Shown> {
        let rows = "[...document.querySelectorAll('#log > li[data-seq]')].map((row) => [\
                    Number(row.dataset.seq), \
                    row.querySelector('.sender')?.textContent + ' ' + row.lastChild.textContent, \
                    row.classList.contains('caught')])";
        let rows = browser.value(&self.page, rows).await;
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| Shown {
            seq: row[0].as_u64().unwrap(),
            text: row[1].as_str().unwrap().to_owned(),
            caught_up: row[2].as_bool().unwrap(),
        })
        .collect()
    }

    async fn text(&self, browser: &mut Browser, selector: &str) -> String {
        let text = format!("document.querySelector({selector:?})?.textContent ?? ''");
        browser.value(&self.page, &text).await.as_str().unwrap().to_owned()
    }
}

/// Both see the same entries, +1 each, and neither page's own check found a fault.
async fn assert_same_order(browser: &mut Browser, people: [&Person; 2]) -> Vec<Shown> {
    let [one, other] = people;
    let shown = one.shown(browser).await;
    let plain = |rows: &[Shown]| -> Vec<(u64, String)> {
        rows.iter().map(|row| (row.seq, row.text.clone())).collect()
    };
    assert_eq!(plain(&shown), plain(&other.shown(browser).await));
    let seqs: Vec<u64> = shown.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, (1..=shown.len() as u64).collect::<Vec<u64>>());
    for person in people {
        let checks =
            "[...document.querySelectorAll('#order td:last-child')].map((td) => td.textContent)";
        let checks = browser.value(&person.page, checks).await;
        let sound = |check: &Value| check == "✓ no gap" || check == "–";
        assert!(checks.as_array().unwrap().iter().all(sound), "{checks}");
        assert_eq!(person.text(browser, "[data-count=repeats]").await, "0", "entries came twice");
    }
    shown
}

#[tokio::test]
async fn two_people_in_browsers_miss_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let mut server = Server::serve(&data);
    let mut browser = Browser::start(&world, directory.path()).await;
    let ada = Person::arrive(&mut browser, &server, &data, "ada").await;
    let bob = Person::arrive(&mut browser, &server, &data, "bob").await;

    browser.click(&ada.page, "#empty button").await;
    ada.sees(&mut browser, "ada joined").await;
    bob.join(&mut browser, "general").await;
    for number in 0..5 {
        for (person, name) in [(&ada, "ada"), (&bob, "bob")] {
            let text = format!("<b>{number}</b> & <img src=x onerror=alert(1)> by {name}");
            person.write(&mut browser, &text).await;
        }
    }
    for person in [&ada, &bob] {
        person.write(&mut browser, "that was all").await;
    }
    let both = "document.querySelectorAll('#log > li').length >= 15";
    for person in [&ada, &bob] {
        browser.until(&person.page, "every message", both).await;
    }
    let shown = assert_same_order(&mut browser, [&ada, &bob]).await;
    assert_eq!(shown.len(), 2 + 10 + 2, "two joins and every message");
    assert!(
        shown.iter().any(|row| row.text == "bob <b>4</b> & <img src=x onerror=alert(1)> by bob")
    );

    unread_is_counted(&mut browser, &ada, &bob).await;
    cut_and_caught_up(&mut browser, &ada, &bob).await;
    pictures(&mut browser, &bob).await;
    server_killed(&mut browser, &mut server, &ada, &bob).await;

    let unexpected = |complaint: &&String| !complaint.contains("ERR_CONNECTION_REFUSED");
    let complaints: Vec<&String> = browser.complaints.iter().filter(unexpected).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

async fn unread_is_counted(browser: &mut Browser, ada: &Person, bob: &Person) {
    bob.join(browser, "random").await;
    for text in ["one", "two", "three"] {
        ada.write(browser, text).await;
    }
    let badge = "[data-channel=general] .badge";
    let three = format!("document.querySelector({badge:?})?.textContent == 3");
    browser.until(&bob.page, "three unread", &three).await;
    browser.click(&bob.page, "[data-channel=general]").await;
    bob.sees(browser, "three").await;
    browser.until(&bob.page, "none unread", &format!("!document.querySelector({badge:?})")).await;
}

async fn cut_and_caught_up(browser: &mut Browser, ada: &Person, bob: &Person) {
    let before = bob.shown(browser).await.len();
    let until_i_say = "document.getElementById('cut-for').value = ''";
    browser.value(&bob.page, until_i_say).await;
    browser.click(&bob.page, "#cut").await;
    browser.until(&bob.page, "a cut", "document.querySelector('#app.away')").await;
    for number in 1..=MISSED {
        ada.write(browser, &format!("missed {number}")).await;
    }
    ada.sees(browser, &format!("missed {MISSED}")).await;
    assert_eq!(bob.shown(browser).await.len(), before, "the cut did not cut");

    browser.click(&bob.page, "#cut").await;
    bob.sees(browser, &format!("missed {MISSED}")).await;
    let told = "document.querySelector('.caught-line')?.textContent.includes('caught up')";
    browser.until(&bob.page, "the catch-up is summed up", told).await;
    let (first, last) = (before + 1, before + MISSED);
    let line = format!("{MISSED} messages caught up, seq {first}–{last}, no gap");
    assert_eq!(bob.text(browser, ".caught-line").await, line);
    assert!(bob.text(browser, "#journal .caught").await.ends_with(&line));

    let shown = assert_same_order(browser, [ada, bob]).await;
    assert_eq!(shown.len(), last);
    let marked = bob.shown(browser).await.iter().filter(|row| row.caught_up).count();
    assert_eq!(marked, MISSED, "exactly what was caught up is marked");
    assert!(!shown.iter().any(|row| row.caught_up), "ada caught nothing up");
}

/// With `SERIATIM_TEST_SCREENSHOTS` set to a folder, leaves pictures of the page in it.
async fn pictures(browser: &mut Browser, person: &Person) {
    let Some(folder) = std::env::var_os("SERIATIM_TEST_SCREENSHOTS") else { return };
    for scheme in ["light", "dark"] {
        let file = std::path::Path::new(&folder).join(format!("page-{scheme}.png"));
        std::fs::write(file, browser.screenshot(&person.page, scheme).await).unwrap();
    }
}

async fn server_killed(browser: &mut Browser, server: &mut Server, ada: &Person, bob: &Person) {
    server.kill();
    for person in [ada, bob] {
        browser.until(&person.page, "a loss", "!document.querySelector('#app.live')").await;
    }
    ada.write(browser, "into the dark").await;
    let waits = "document.querySelector('#pending')?.textContent.includes('into the dark')";
    browser.until(&ada.page, "a message that waits", waits).await;
    server.start_again();
    for person in [ada, bob] {
        person.is_live(browser).await;
        person.sees(browser, "into the dark").await;
    }
    bob.write(browser, "I am back, too").await;
    for person in [ada, bob] {
        person.sees(browser, "I am back, too").await;
    }
    let shown = assert_same_order(browser, [ada, bob]).await;
    let times = shown.iter().filter(|row| row.text.ends_with("into the dark")).count();
    assert_eq!(times, 1);
    let nothing = "document.querySelector('#pending').childElementCount == 0";
    browser.until(&ada.page, "nothing waits", nothing).await;
    server.assert_sound();
}
