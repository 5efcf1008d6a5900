//! The chat page where the network lets no WebSocket through: it polls, misses nothing, and goes
//! back to a WebSocket when it can. And a window that is closed is seen to be gone.

use std::path::Path;

use seriatim_engine::limits::{PRESENCE_GRACE, PRESENCE_TTL};

use crate::browser::Browser;
use crate::chat_page::{Person, assert_same_order};
use crate::middlebox::Middlebox;
use crate::process::Server;
use crate::user::world;

/// Waits until the page has a session of this kind.
async fn is_carried_by(browser: &mut Browser, person: &Person, transport: &str) {
    let is_live = format!(
        "document.querySelector('#app.live') && \
         document.getElementById('transport').textContent == '{transport}'"
    );
    browser.until(&person.page, transport, &is_live).await;
}

/// Each says something that both see.
async fn talk(browser: &mut Browser, people: [&Person; 2], about: &str) {
    for (person, name) in people.iter().zip(["ada", "bob"]) {
        let text = format!("{name} {about}");
        person.write(browser, &text).await;
        for other in people {
            other.sees(browser, &text).await;
        }
    }
}

/// Eve opens a window, is seen online, and closes it.
async fn visitor_comes_and_goes(browser: &mut Browser, server: &Server, data: &Path, bob: &Person) {
    let eve = Person::arrive(browser, &server.address, data, "eve").await;
    eve.join(browser, "general").await;
    let online = "document.querySelector('#people [data-user=eve][data-state=active]')";
    browser.until(&bob.page, "eve is there", online).await;
    browser.on(&eve.page, "Page.close", serde_json::json!({})).await;
}

/// Nobody says that a closed window is gone: its session's time runs out. (This server has only just
/// started, and tells of no lower state before its grace is over.)
async fn is_seen_offline(browser: &mut Browser, bob: &Person) {
    let offline = "document.querySelector('#people [data-user=eve][data-state=offline]')";
    browser.until_within(&bob.page, PRESENCE_GRACE + PRESENCE_TTL, "eve is gone", offline).await;
}

#[tokio::test]
async fn the_page_polls_where_no_websocket_comes_through() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let middlebox = Middlebox::start(&world, &server.address).await;
    let mut browser = Browser::start(&world, directory.path()).await;
    let ada = Person::arrive(&mut browser, &middlebox.address, &data, "ada").await;
    let bob = Person::arrive(&mut browser, &server.address, &data, "bob").await;
    for person in [&ada, &bob] {
        person.join(&mut browser, "general").await;
    }
    visitor_comes_and_goes(&mut browser, &server, &data, &bob).await;
    is_carried_by(&mut browser, &ada, "WebSocket").await;
    talk(&mut browser, [&ada, &bob], "by WebSocket").await;

    middlebox.block(true);
    browser.until(&ada.page, "a loss", "!document.querySelector('#app.live')").await;
    bob.write(&mut browser, "while ada is away").await;
    ada.write(&mut browser, "sent while away").await;
    is_carried_by(&mut browser, &ada, "long polling").await;
    assert!(middlebox.refused() >= 2, "{} WebSockets were tried", middlebox.refused());
    for person in [&ada, &bob] {
        let all = "['while ada is away', 'sent while away'].every((text) => \
                   document.getElementById('log').textContent.includes(text))";
        browser.until(&person.page, "what was said meanwhile", all).await;
    }
    talk(&mut browser, [&ada, &bob], "by polls").await;
    bob.join(&mut browser, "random").await;
    ada.join(&mut browser, "random").await;
    talk(&mut browser, [&ada, &bob], "in a channel joined by polls").await;
    for person in [&ada, &bob] {
        person.turn_to(&mut browser, "general").await;
    }
    assert_eq!(ada.text(&mut browser, "#transport").await, "long polling");

    middlebox.block(false);
    let until_i_say = "document.getElementById('cut-for').value = ''";
    browser.value(&ada.page, until_i_say).await;
    browser.click(&ada.page, "#cut").await;
    browser.until(&ada.page, "a cut", "document.querySelector('#app.away')").await;
    bob.write(&mut browser, "while ada is cut").await;
    browser.click(&ada.page, "#cut").await;
    is_carried_by(&mut browser, &ada, "WebSocket").await;
    ada.sees(&mut browser, "while ada is cut").await;
    talk(&mut browser, [&ada, &bob], "by WebSocket again").await;
    let shown = assert_same_order(&mut browser, [&ada, &bob]).await;
    let times = shown.iter().filter(|row| row.text.ends_with("sent while away")).count();
    assert_eq!(times, 1, "a message that was sent again came twice");

    is_seen_offline(&mut browser, &bob).await;
    // What was on its way when ada cut her polled connection finds none any more.
    let is_late = |complaint: &str| complaint.contains("404") && complaint.contains("/v1/poll");
    let unexpected =
        |complaint: &&String| !complaint.contains("WebSocket connection") && !is_late(complaint);
    let complaints: Vec<&String> = browser.complaints.iter().filter(unexpected).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    server.assert_sound();
}
