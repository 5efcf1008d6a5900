//! Is a run its seed's alone, and is nothing overlooked that no run may show?

use std::future::Future as _;
use std::time::Duration;

use crate::lab::{Lab, Notes, wait_until};
use bytes::Bytes;
use seriatim_sim::host::Exit;
use seriatim_sim::hygiene::FindingKind;
use seriatim_sim::net::NetConfig;
use seriatim_sim::time::EPOCH_MS;
use seriatim_world::World;
use seriatim_world::clock::{sleep, timeout};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Echoes on port 80 after writing to disk, each connection on its own task.
async fn echo(world: World, _: Notes) {
    let mut listener = world.net.bind("0.0.0.0:80").await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let own = world.clone();
        let task = async move {
            let name = format!("{:x}", own.entropy.next_u64());
            let Ok(file) = own.disk.create(&name).await else { return };
            let mut buffer = vec![0; 900];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                let length = file.length().await.unwrap();
                file.write_at(length, bytes.clone()).await.unwrap();
                file.sync().await.unwrap();
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        world.spawn.spawn("echo", Box::pin(task));
    }
}

/// Twenty users who talk to two servers, and come back when they are cut off.
async fn talk(world: World, _: Notes) {
    for user in 0..20_u8 {
        let own = world.clone();
        let task = async move {
            loop {
                let server = if own.entropy.next_u64().is_multiple_of(2) { "a:80" } else { "b:80" };
                let limit = Duration::from_secs(2);
                let connected = timeout(&*own.clock, limit, own.net.connect(server)).await;
                if let Ok(Ok(mut stream)) = connected {
                    let mut buffer = [0; 300];
                    for _ in 0..own.entropy.next_u64() % 30 {
                        let said = {
                            let length = usize::try_from(1 + own.entropy.next_u64() % 300).unwrap();
                            vec![user; length]
                        };
                        let exchange = async {
                            stream.write_all(&said).await?;
                            stream.read_exact(&mut buffer[..said.len()]).await
                        };
                        if !matches!(timeout(&*own.clock, limit, exchange).await, Ok(Ok(_))) {
                            break;
                        }
                    }
                }
                sleep(&*own.clock, Duration::from_millis(own.entropy.next_u64() % 300)).await;
            }
        };
        world.spawn.spawn("user", Box::pin(task));
    }
    std::future::pending().await
}

/// The hash and the lines of a busy run with every kind of crash and cut.
fn run(seed: u64) -> (u128, Vec<String>) {
    let mut lab = Lab::new(seed, NetConfig::default(), 10);
    lab.host("a", echo);
    lab.host("b", echo);
    lab.host("client", talk);
    lab.run_until(2_000);
    lab.plane.cut_between(lab.now(), "a", "client");
    lab.kill("b");
    lab.run_until(2_500);
    lab.boot("b");
    lab.run_until(4_000);
    lab.plane.heal_all(lab.now());
    lab.run_until(5_000);
    lab.power_off("a");
    lab.plane.cut(lab.now(), "b", "client");
    lab.run_until(6_000);
    lab.boot("a");
    lab.plane.heal_all(lab.now());
    lab.run_until(7_000);
    lab.kill("client");
    lab.plane.reset_host(lab.now(), "a");
    lab.boot("client");
    lab.run_until(8_000);
    assert_eq!(lab.hygiene.findings(), []);
    let counters = lab.plane.counters();
    assert!(counters.bytes_held > 0 && counters.resets > 0, "{counters:?}");
    assert!(lab.journal.entries() > 5_000, "{} entries", lab.journal.entries());
    (lab.journal.hash(), lab.journal.lines())
}

fn assert_same(first: &(u128, Vec<String>), second: &(u128, Vec<String>)) {
    let differing = first.1.iter().zip(&second.1).find(|(one, other)| one != other);
    assert_eq!(differing, None, "the first lines that differ");
    assert_eq!(first.0, second.0);
}

#[test]
fn the_same_seed_gives_the_same_run_again_and_on_other_threads() {
    let first = run(7);
    for _ in 0..3 {
        // The number of tasks ever started shifts the order in which tokio drops them.
        lab_of_one_task();
        assert_same(&first, &run(7));
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            #[expect(clippy::disallowed_methods, reason = "a test of runs on several threads")]
            std::thread::spawn(|| run(7))
        })
        .collect();
    for thread in threads {
        assert_same(&first, &thread.join().unwrap());
    }
}

fn lab_of_one_task() {
    let mut lab = Lab::exact();
    lab.host("a", |_, _| std::future::pending());
    lab.run_until(3);
}

#[test]
fn other_seeds_give_other_runs() {
    let mut hashes: Vec<u128> = (1..5).map(|seed| run(seed).0).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 4);
}

#[test]
fn clocks_go_on_across_boots_and_may_be_wrong() {
    let mut lab = Lab::exact();
    lab.host("a", |world, notes| async move {
        wait_until(&world, 10).await;
        notes.add(&world, (world.clock.wall_now().0 - EPOCH_MS).to_string());
        std::future::pending().await
    });
    lab.run_until(100);
    lab.power_off("a");
    lab.run_until(200);
    lab.at("a").skew(lab.now(), 5_000, 0);
    lab.boot("a");
    lab.run_until(300);
    assert_eq!(lab.notes.all(), [(10, "10".to_owned()), (10, "5210".to_owned())]);
}

#[test]
fn panics_and_error_logs_are_laid_to_their_host_and_time() {
    let mut lab = Lab::exact();
    lab.host("a", |world, _| async move {
        wait_until(&world, 5).await;
        tracing::warn!("odd, but served");
        tracing::error!(code = 7, "a promise broken");
        wait_until(&world, 9).await;
        let task = async { panic!("a mistake of ours") };
        world.spawn.spawn("faulty", Box::pin(task));
        std::future::pending().await
    });
    lab.host("b", |world, notes| async move {
        wait_until(&world, 15).await;
        notes.add(&world, "b goes on");
    });
    lab.run_until(20);
    assert_eq!((lab.at("a").is_alive(), lab.at("b").is_alive()), (false, true));
    assert_eq!(lab.at("a").take_exit(), Some(Exit::Panicked));
    assert_eq!(lab.notes.texts(), ["b goes on"]);
    let findings = lab.hygiene.findings();
    let log = &findings[0];
    assert_eq!(log.kind, FindingKind::ErrorLog);
    assert!(log.to_string().starts_with("error log on a at 0.005000: "), "{log}");
    assert!(log.text.ends_with("a promise broken code=7"), "{log}");
    let panic = &findings[1];
    assert_eq!(panic.kind, FindingKind::Panic);
    assert!(panic.to_string().starts_with("panic on a at 0.009000: "), "{panic}");
    assert!(panic.text.contains("a mistake of ours"), "{panic}");
}

#[test]
fn tasks_that_have_not_ended_are_counted_by_name() {
    let mut lab = Lab::exact();
    lab.host("a", |world, _| async move {
        let own = world.clone();
        world.spawn.spawn("short", Box::pin(async move { wait_until(&own, 5).await }));
        for _ in 0..2 {
            world.spawn.spawn("endless", Box::pin(std::future::pending()));
        }
        let stopped = world.spawn.spawn("stopped", Box::pin(std::future::pending()));
        wait_until(&world, 10).await;
        stopped.abort();
        wait_until(&world, 11).await;
    });
    lab.run_until(20);
    let live: Vec<_> = lab.at("a").live_tasks().into_iter().collect();
    assert_eq!(live, [("endless", 2)]);
}

#[test]
fn a_host_that_takes_turns_runs_its_tasks_late_and_counts_it() {
    let mut lab = Lab::exact();
    lab.host("a", |world, notes| async move {
        for ms in [10, 130, 250] {
            wait_until(&world, ms).await;
            notes.add(&world, "turn");
        }
    });
    lab.at("a").take_turns(lab.now(), 100_000, 20_000);
    lab.run_until(400);
    let at: Vec<u64> = lab.notes.all().into_iter().map(|(at, _)| at).collect();
    assert_eq!(at, [10, 200, 300]);
    assert_eq!(lab.at("a").withheld(), 2);
}

#[test]
fn a_process_that_is_asked_to_stop_hears_of_it_once_per_boot() {
    let mut lab = Lab::exact();
    lab.host("a", |world, notes| async move {
        notes.add(&world, "up");
        std::future::pending().await
    });
    let mut signal = Box::pin(lab.at("a").stop_signal());
    lab.at("a").ask_to_stop(lab.now());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(signal.as_mut().poll(&mut context).is_ready());
    lab.kill("a");
    lab.boot("a");
    let mut signal = Box::pin(lab.at("a").stop_signal());
    assert!(signal.as_mut().poll(&mut context).is_pending());
}
