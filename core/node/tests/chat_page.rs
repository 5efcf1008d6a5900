//! The chat page in a real browser: two people talk, are cut, lose their server, and miss nothing.

use std::time::Duration;

use serde_json::Value;
use seriatim_world::clock::sleep;

use crate::browser::{Browser, PATIENCE, Page};
use crate::process::Server;
use crate::user::world;

/// More than a page of the log holds, so that catching up takes several.
const MISSED: usize = 120;

/// How long a channel may take to be shown before it is clicked again.
const TURNING: Duration = Duration::from_secs(10);

const DESK: (u32, u32) = (1_280, 800);
const PHONE: (u32, u32) = (390, 844);

/// A person at the page.
pub(crate) struct Person {
    pub(crate) page: Page,
}

/// An entry as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    seq: u64,
    pub(crate) text: String,
    pub(crate) caught_up: bool,
}

impl Person {
    pub(crate) async fn arrive(
        browser: &mut Browser,
        address: &str,
        data: &std::path::Path,
        name: &str,
    ) -> Self {
        let token = Server::token(data, name);
        let url = format!("http://{address}/#token={token}");
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

    pub(crate) async fn is_live(&self, browser: &mut Browser) {
        browser.until(&self.page, "a session", "document.querySelector('#app.live')").await;
    }

    /// Clicks on a channel until it is shown: a list that grows moves away under the mouse.
    pub(crate) async fn turn_to(&self, browser: &mut Browser, channel: &str) {
        let shown = format!("document.querySelector('#channel-name').textContent == '# {channel}'");
        for _ in 0..5 {
            browser.click(&self.page, &format!("[data-channel={channel}]")).await;
            if browser.comes_to_hold(&self.page, &shown, TURNING).await {
                return;
            }
        }
        panic!("{channel} was clicked and isn't shown");
    }

    pub(crate) async fn join(&self, browser: &mut Browser, channel: &str) {
        browser.click(&self.page, "#join-name").await;
        browser.write(&self.page, channel).await;
        browser.press(&self.page, "Enter").await;
        let shown = format!("document.getElementById('channel-name').textContent == '# {channel}'");
        browser.until(&self.page, channel, &shown).await;
    }

    pub(crate) async fn write(&self, browser: &mut Browser, text: &str) {
        browser.click(&self.page, "#body").await;
        browser.write(&self.page, text).await;
        browser.press(&self.page, "Enter").await;
    }

    /// Waits until the newest entry on the page says `text`.
    pub(crate) async fn sees(&self, browser: &mut Browser, text: &str) {
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

    pub(crate) async fn text(&self, browser: &mut Browser, selector: &str) -> String {
        let text = format!("document.querySelector({selector:?})?.textContent ?? ''");
        browser.value(&self.page, &text).await.as_str().unwrap().to_owned()
    }
}

/// Both see the same entries, +1 each, and neither page's own check found a fault.
pub(crate) async fn assert_same_order(browser: &mut Browser, people: [&Person; 2]) -> Vec<Shown> {
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
    let ada = Person::arrive(&mut browser, &server.address, &data, "ada").await;
    let bob = Person::arrive(&mut browser, &server.address, &data, "bob").await;

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

    browser.audit(&ada.page, "a conversation").await;
    who_writes_is_shown(&mut browser, &ada, &bob).await;
    let eve = presence_is_shown(&mut browser, &server, &data, [&ada, &bob]).await;
    unread_is_counted(&mut browser, &ada, &bob).await;
    read_elsewhere_is_read_here(&mut browser, &server, &data, [&ada, &bob]).await;
    channels_are_made_and_left(&mut browser, &bob).await;
    channels_are_found(&mut browser, &ada).await;
    cut_and_caught_up(&mut browser, &ada, &bob).await;
    phone_has_room_for_all(&mut browser, &ada, &bob).await;
    pictures(&mut browser, [&ada, &bob, &eve]).await;
    server_killed(&mut browser, &mut server, &ada, &bob).await;

    let unexpected = |complaint: &&String| !complaint.contains("ERR_CONNECTION_REFUSED");
    let complaints: Vec<&String> = browser.complaints.iter().filter(unexpected).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

async fn who_writes_is_shown(browser: &mut Browser, ada: &Person, bob: &Person) {
    is_seen_writing(browser, ada, bob).await;
    assert_eq!(bob.text(browser, "#typing").await, "ada is typing…");
    assert_eq!(ada.text(browser, "#typing").await, "", "one is not told of oneself");
    browser.write(&ada.page, " wait for it").await;
    browser.press(&ada.page, "Enter").await;
    bob.sees(browser, "wait for it").await;
    assert_eq!(bob.text(browser, "#typing").await, "", "the message ends it");
}

/// Ada writes on, without sending, until bob sees it: one `typing` in some seconds is passed on.
async fn is_seen_writing(browser: &mut Browser, ada: &Person, bob: &Person) {
    browser.click(&ada.page, "#body").await;
    let deadline = browser.world.clock.mono_now() + PATIENCE;
    while bob.text(browser, "#typing").await.is_empty() {
        assert!(browser.world.clock.mono_now() < deadline, "nobody is seen to write");
        browser.write(&ada.page, "m").await;
        sleep(&*browser.world.clock, Duration::from_millis(20)).await;
    }
}

/// Eve comes in by the form, unseen, then shows herself more and more. (A server that has just
/// started tells of higher states at once, and of lower ones only after its grace.)
async fn presence_is_shown(
    browser: &mut Browser,
    server: &Server,
    data: &std::path::Path,
    [ada, bob]: [&Person; 2],
) -> Person {
    let is = |user: &str, state: &str| {
        format!("document.querySelector('#people [data-user={user}][data-state={state}]')")
    };
    let page = browser.open(&format!("http://{}/", server.address)).await;
    browser.until(&page, "the form", "document.activeElement?.id == 'token'").await;
    browser.audit(&page, "the form").await;
    browser.value(&page, "sessionStorage.setItem('shown-as', 'offline')").await;
    browser.write(&page, &Server::token(data, "eve")).await;
    browser.click(&page, "#sign-in button").await;
    let eve = Person { page };
    eve.is_live(browser).await;
    eve.join(browser, "general").await;

    browser.until(&ada.page, "bob is there", &is("bob", "active")).await;
    browser.until(&bob.page, "ada is there", &is("ada", "active")).await;
    browser.until(&eve.page, "ada is there", &is("ada", "active")).await;
    browser.until(&ada.page, "eve is unseen", &is("eve", "offline")).await;
    assert_eq!(ada.text(browser, "#online").await, "1 online");
    assert_eq!(
        ada.text(browser, "#people").await.matches("ada").count(),
        0,
        "ada knows of herself"
    );
    for (choice, state) in [("away", "away"), ("auto", "active")] {
        let choose = format!(
            "{{ const select = document.getElementById('my-state'); select.value = '{choice}'; \
             select.dispatchEvent(new Event('change')); }}"
        );
        browser.value(&eve.page, &choose).await;
        browser.until(&ada.page, "eve shows herself", &is("eve", state)).await;
    }
    assert_eq!(ada.text(browser, "#online").await, "2 online");

    // Nobody touches eve's page for longer than it takes to be away.
    let sleep = "{ const now = performance.now.bind(performance); \
                 performance.now = () => now() + 6 * 60_000; }";
    browser.value(&eve.page, sleep).await;
    until_heartbeat(browser, &eve, r#"{"type":"heartbeat","state":"away","background":false}"#)
        .await;
    browser.click(&eve.page, "#body").await;
    let active = r#"{"type":"heartbeat","state":"active","background":false}"#;
    until_heartbeat(browser, &eve, active).await;
    for (hidden, heartbeat) in [(true, &*active.replace("false", "true")), (false, active)] {
        let hide = format!(
            "{{ Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange')); }}"
        );
        browser.value(&eve.page, &hide).await;
        until_heartbeat(browser, &eve, heartbeat).await;
    }
    eve
}

/// Waits until a person's page sends this heartbeat.
async fn until_heartbeat(browser: &mut Browser, person: &Person, heartbeat: &str) {
    let deadline = browser.world.clock.mono_now() + PATIENCE;
    while !browser.take_heartbeats(&person.page).iter().any(|sent| sent == heartbeat) {
        assert!(browser.world.clock.mono_now() < deadline, "{heartbeat} was not sent");
        // What the page did is heard along with an answer.
        browser.value(&person.page, "null").await;
        sleep(&*browser.world.clock, Duration::from_millis(20)).await;
    }
}

/// On a phone: nothing is wider than it, everything can be read and hit.
async fn phone_has_room_for_all(browser: &mut Browser, ada: &Person, bob: &Person) {
    browser.resize(&bob.page, PHONE.0, PHONE.1).await;
    is_seen_writing(browser, ada, bob).await;
    browser.audit(&bob.page, "a phone").await;
    for (button, pane) in [("#open-channels", "channels-pane"), ("#open-order", "order-pane")] {
        browser.click(&bob.page, button).await;
        let open = format!("document.querySelector('#{pane}.open')");
        browser.until(&bob.page, pane, &open).await;
        browser.audit(&bob.page, pane).await;
        browser.value(&bob.page, "document.getElementById('shade').click()").await;
    }
    browser.resize(&bob.page, DESK.0, DESK.1).await;
    browser.value(&ada.page, "document.getElementById('body').value = ''").await;
}

async fn unread_is_counted(browser: &mut Browser, ada: &Person, bob: &Person) {
    bob.join(browser, "random").await;
    for text in ["one", "two", "three"] {
        ada.write(browser, text).await;
    }
    let badge = "[data-channel=general] .badge";
    let three = format!("document.querySelector({badge:?})?.textContent == 3");
    browser.until(&bob.page, "three unread", &three).await;
    bob.turn_to(browser, "general").await;
    bob.sees(browser, "three").await;
    browser.until(&bob.page, "none unread", &format!("!document.querySelector({badge:?})")).await;
}

/// Bob has a second device: what he has read on one is read on the other, and when he comes back.
async fn read_elsewhere_is_read_here(
    browser: &mut Browser,
    server: &Server,
    data: &std::path::Path,
    [ada, bob]: [&Person; 2],
) {
    let device = Person::arrive(browser, &server.address, data, "bob").await;
    // While either showed the channel, what is unread could be read before it is looked for.
    for page in [&device, bob] {
        page.turn_to(browser, "random").await;
    }
    ada.write(browser, "on which device?").await;
    let one = "document.querySelector('[data-channel=general] .badge')?.textContent == 1";
    browser.until(&device.page, "one unread", one).await;
    bob.turn_to(browser, "general").await;
    bob.sees(browser, "on which device?").await;
    let none = "!document.querySelector('[data-channel=general] .badge')";
    browser.until(&device.page, "read on the first device", none).await;

    bob.turn_to(browser, "random").await;
    ada.write(browser, "not seen on any").await;
    browser.until(&device.page, "one unread", one).await;
    browser.on(&device.page, "Page.reload", serde_json::json!({})).await;
    browser.until(&device.page, "one unread after a reload", one).await;
    browser.on(&device.page, "Page.navigate", serde_json::json!({ "url": "about:blank" })).await;
    bob.turn_to(browser, "general").await;
    bob.sees(browser, "not seen on any").await;
}

async fn channels_are_made_and_left(browser: &mut Browser, bob: &Person) {
    browser.click(&bob.page, "#join-private").await;
    bob.join(browser, "board").await;
    bob.sees(browser, "bob made the channel").await;
    for _ in 0..2 {
        browser.click(&bob.page, "#leave").await;
    }
    let gone = "!document.querySelector('[data-channel=board]')";
    browser.until(&bob.page, "the channel is gone", gone).await;
    bob.turn_to(browser, "general").await;
}

/// Ada looks for channels: bob's public one is there, his private one isn't, and hers need no finding.
async fn channels_are_found(browser: &mut Browser, ada: &Person) {
    browser.click(&ada.page, "#browse summary").await;
    browser.until(&ada.page, "a channel", "document.querySelector('[data-join=random]')").await;
    assert_eq!(ada.text(browser, "#found").await, "randomJoin");
    browser.audit(&ada.page, "channels to join").await;
    browser.click(&ada.page, "[data-join=random]").await;
    let shown = "document.getElementById('channel-name').textContent == '# random'";
    browser.until(&ada.page, "the channel", shown).await;
    let all = "document.getElementById('found-hint').textContent == 'You are in all of them.'";
    browser.until(&ada.page, "nothing to join", all).await;
    browser.click(&ada.page, "#browse summary").await;
    ada.turn_to(browser, "general").await;
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

async fn pictures(browser: &mut Browser, [ada, bob, eve]: [&Person; 3]) {
    if std::env::var_os("SERIATIM_TEST_SCREENSHOTS").is_none() {
        return;
    }
    ada.write(browser, "The train is about to enter the tunnel.").await;
    bob.write(browser, "Tell me the numbers, I'll be gone for a minute.").await;
    ada.sees(browser, "gone for a minute.").await;
    browser.click(&bob.page, "#cut").await;
    browser.until(&bob.page, "a cut", "document.querySelector('#app.away')").await;
    for (person, text) in [
        (eve, "38,412 rows copied, no errors so far"),
        (ada, "Second half is running. Same plan for tomorrow?"),
        (eve, "Yes, but earlier: the night shift asked for 07:30."),
        (ada, "Fine with me"),
        (ada, "bob is in his tunnel, he'll read it when he is out"),
        (eve, "Done: 76,801 rows"),
    ] {
        person.write(browser, text).await;
        ada.sees(browser, text).await;
    }
    browser.click(&bob.page, "#cut").await;
    bob.sees(browser, "Done: 76,801 rows").await;
    bob.write(browser, "Back. I have exactly what I missed, in its order.").await;
    ada.sees(browser, "in its order.").await;
    for (name, (width, height)) in [("page", DESK), ("phone", PHONE)] {
        browser.resize(&bob.page, width, height).await;
        is_seen_writing(browser, ada, bob).await;
        picture(browser, &bob.page, name, &["light", "dark"]).await;
    }
    browser.resize(&bob.page, DESK.0, DESK.1).await;
    browser.value(&ada.page, "document.getElementById('body').value = ''").await;
}

/// With `SERIATIM_TEST_SCREENSHOTS` set to a folder, leaves a picture of the page in it.
async fn picture(browser: &mut Browser, page: &Page, name: &str, schemes: &[&str]) {
    let Some(folder) = std::env::var_os("SERIATIM_TEST_SCREENSHOTS") else { return };
    for scheme in schemes {
        let file = std::path::Path::new(&folder).join(format!("{name}-{scheme}.png"));
        std::fs::write(file, browser.screenshot(page, scheme).await).unwrap();
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
