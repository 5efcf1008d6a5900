//! What survives on a simulated disk, and what does not?

use std::collections::BTreeMap;

use crate::lab::{Lab, Notes};
use bytes::Bytes;
use seriatim_sim::disk::{DiskFault, Operation};
use seriatim_world::{Disk, World};

/// Runs `work` on a fresh host at its first boot and the inspection `look` at its second, with
/// `crash` between them at 500 ms. Gives what was noted.
fn across<W, L>(
    seed: u64,
    crash: fn(&mut Lab),
    work: fn(World, Notes) -> W,
    look: fn(World, Notes) -> L,
) -> Lab
where
    W: Future<Output = ()> + 'static,
    L: Future<Output = ()> + 'static,
{
    let mut lab = Lab::new(seed, crate::lab::plain(), 10);
    lab.host("node", move |world, notes| async move {
        if world.disk.list().await.unwrap().contains(&"booted".to_owned()) {
            look(world, notes).await;
        } else {
            drop(world.disk.create("booted").await.unwrap());
            world.disk.sync_directory().await.unwrap();
            work(world, notes).await;
            std::future::pending().await
        }
    });
    lab.run_until(500);
    crash(&mut lab);
    lab.boot("node");
    lab.run_until(1_000);
    lab
}

fn kill(lab: &mut Lab) {
    lab.kill("node");
}

fn power_off(lab: &mut Lab) {
    lab.power_off("node");
}

async fn write(disk: &dyn Disk, name: &str, bytes: &'static [u8]) {
    let file = match disk.open(name).await {
        Ok(file) => file,
        Err(_) => disk.create(name).await.unwrap(),
    };
    file.write_at(0, Bytes::from_static(bytes)).await.unwrap();
}

async fn note_files(world: World, notes: Notes) {
    for name in world.disk.list().await.unwrap() {
        let file = world.disk.open(&name).await.unwrap();
        let bytes = file.read_at(0, 1 << 20).await.unwrap();
        assert_eq!(bytes.len() as u64, file.length().await.unwrap());
        notes.add(&world, format!("{name}={}", String::from_utf8_lossy(&bytes)));
    }
}

/// How often each outcome was seen over 40 seeds.
fn outcomes<W>(crash: fn(&mut Lab), work: fn(World, Notes) -> W) -> BTreeMap<String, usize>
where
    W: Future<Output = ()> + 'static,
{
    let mut seen = BTreeMap::new();
    for seed in 0..40 {
        let lab = across(seed, crash, work, note_files);
        *seen.entry(lab.notes.texts().join(" ")).or_default() += 1;
    }
    seen
}

async fn synced(world: World, _: Notes) {
    let file = world.disk.create("log").await.unwrap();
    file.write_at(0, Bytes::from_static(b"one")).await.unwrap();
    file.sync().await.unwrap();
    world.disk.sync_directory().await.unwrap();
}

async fn unsynced(world: World, notes: Notes) {
    synced(world.clone(), notes).await;
    let file = world.disk.open("log").await.unwrap();
    file.write_at(3, Bytes::from_static(b"two")).await.unwrap();
}

#[test]
fn what_was_synced_survives_a_power_loss() {
    assert_eq!(outcomes(power_off, synced), BTreeMap::from([("booted= log=one".to_owned(), 40)]));
}

#[test]
fn what_was_not_synced_may_survive_a_power_loss_or_not() {
    let seen = outcomes(power_off, unsynced);
    assert!(seen.contains_key("booted= log=one"), "{seen:?}");
    assert!(seen.contains_key("booted= log=onetwo"), "{seen:?}");
    assert!(seen.contains_key("booted= log=one\0\0\0"), "grown, but not written: {seen:?}");
}

#[test]
fn a_kill_keeps_everything() {
    let seen = outcomes(kill, unsynced);
    assert_eq!(seen, BTreeMap::from([("booted= log=onetwo".to_owned(), 40)]));
}

#[test]
fn a_file_whose_directory_was_not_synced_may_vanish_with_its_synced_bytes() {
    let seen = outcomes(power_off, |world, _| async move {
        let file = world.disk.create("log").await.unwrap();
        file.write_at(0, Bytes::from_static(b"one")).await.unwrap();
        file.sync().await.unwrap();
    });
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["booted=", "booted= log=one"]);
}

#[test]
fn a_rename_is_seen_whole_or_not_at_all() {
    let seen = outcomes(power_off, |world, notes| async move {
        synced(world.clone(), notes).await;
        let next = world.disk.create("next").await.unwrap();
        next.write_at(0, Bytes::from_static(b"two")).await.unwrap();
        next.sync().await.unwrap();
        world.disk.rename("next", "log").await.unwrap();
    });
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["booted= log=one", "booted= log=one next=two", "booted= log=two"]);
}

#[test]
fn a_removed_file_may_come_back_until_the_directory_was_synced() {
    let seen = outcomes(power_off, |world, notes| async move {
        synced(world.clone(), notes).await;
        world.disk.remove("log").await.unwrap();
        assert!(world.disk.open("log").await.is_err());
    });
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["booted=", "booted= log=one"]);
}

#[test]
fn a_write_during_a_sync_is_not_part_of_it() {
    let seen = outcomes(power_off, |world, _| async move {
        let file = world.disk.create("log").await.unwrap();
        world.disk.sync_directory().await.unwrap();
        file.write_at(0, Bytes::from_static(b"one")).await.unwrap();
        let (synced, written) =
            tokio::join!(file.sync(), file.write_at(3, Bytes::from_static(b"two")));
        synced.unwrap();
        written.unwrap();
    });
    assert!(seen.len() > 1, "{seen:?}");
    assert!(seen.keys().all(|files| files.starts_with("booted= log=one")), "{seen:?}");
}

#[test]
fn destructors_of_a_dead_process_change_no_file() {
    struct Writer(World);
    impl Drop for Writer {
        fn drop(&mut self) {
            let disk = std::sync::Arc::clone(&self.0.disk);
            let mut writing =
                Box::pin(async move { write(&*disk, "log", b"from the grave").await });
            let waker = std::task::Waker::noop();
            let _pending = writing.as_mut().poll(&mut std::task::Context::from_waker(waker));
        }
    }
    for stop in [Lab::kill, Lab::power_off] {
        let mut lab = Lab::exact();
        lab.host("other", |world, notes| async move {
            synced(world.clone(), notes).await;
            let _writer = Writer(world);
            std::future::pending::<()>().await;
        });
        lab.run_until(100);
        stop(&mut lab, "other");
        assert_eq!(lab.at("other").disk().files(), BTreeMap::from([("log".to_owned(), 3)]));
    }
}

#[test]
fn losses_are_counted() {
    let (mut lost, mut torn) = (0, 0);
    for seed in 0..40 {
        let lab = across(seed, power_off, unsynced, note_files);
        let counters = lab.at("node").disk().counters();
        assert_eq!(counters.power_losses, 1);
        lost += counters.bytes_lost;
        torn += counters.writes_torn;
    }
    assert!(lost > 30 && torn > 2, "{lost} bytes lost, {torn} writes torn");
}

#[test]
fn faults_strike_as_often_as_told_and_where_told() {
    let mut lab = Lab::new(1, crate::lab::plain(), 10);
    lab.host("node", |world, notes| async move {
        let log = world.disk.create("log").await.unwrap();
        let other = world.disk.create("other").await.unwrap();
        crate::lab::wait_until(&world, 100).await;
        for file in [&other, &log, &log] {
            let written = file.write_at(0, Bytes::from_static(b"abcd")).await;
            notes.add(&world, format!("{:?}", written.map_err(|error| error.kind())));
        }
        crate::lab::wait_until(&world, 200).await;
        notes.add(&world, format!("{:?}", log.sync().await.map_err(|e| e.raw_os_error())));
        assert!(log.sync().await.is_ok(), "and yet proves nothing");
    });
    lab.run_until(50);
    lab.at("node").disk().inject(DiskFault::Full, "log", 1);
    lab.run_until(150);
    lab.at("node").disk().inject(DiskFault::Error(Operation::Sync), "", 1);
    lab.run_until(300);
    assert_eq!(lab.notes.texts(), ["Ok(())", "Err(StorageFull)", "Ok(())", "Err(Some(5))"]);
    assert_eq!(lab.at("node").disk().counters().faults_struck, 2);
    assert_eq!(lab.at("node").disk().counters().bytes_synced, 0, "dirty pages were dropped");
}

#[test]
fn power_that_fails_at_an_operation_stops_the_disk_there() {
    let mut lab = Lab::new(1, crate::lab::plain(), 10);
    lab.host("node", |world, notes| async move {
        crate::lab::wait_until(&world, 100).await;
        for n in 0..10 {
            drop(world.disk.create(&format!("f{n}")).await.unwrap());
            notes.add(&world, "created");
        }
    });
    lab.at("node").disk().fail_power_after(4);
    lab.run_until(300);
    assert_eq!(lab.notes.texts().len(), 3);
    assert!(lab.at("node").disk().power_failed());
    lab.power_off("node");
    lab.boot("node");
    assert!(!lab.at("node").disk().power_failed());
}

#[test]
fn an_audit_copy_shows_what_is_visible_and_changes_nothing() {
    let lab = across(1, kill, unsynced, note_files);
    let disk = lab.at("node").disk();
    let (before, hash) = (disk.files(), lab.journal.hash());
    let copy = disk.audit_copy();
    let mut auditing = Box::pin(async move {
        write(&*copy, "log", b"ONE").await;
        copy.remove("booted").await.unwrap();
        let log = copy.open("log").await.unwrap();
        log.sync().await.unwrap();
        log.read_at(0, 100).await.unwrap()
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let read = auditing.as_mut().poll(&mut context);
    assert_eq!(read, std::task::Poll::Ready(Bytes::from_static(b"ONEtwo")));
    assert_eq!((disk.files(), lab.journal.hash()), (before, hash));
}
