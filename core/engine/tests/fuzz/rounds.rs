//! Runs rounds until enough frames were sent, and says what came of them.

use std::env;

use crate::connection::Counts;
use crate::deployment::Deployment;

/// What CI sends: a second or two without optimization.
const FRAMES_DEFAULT: u64 = 100_000;

const SEED_DEFAULT: u64 = 1;

/// A round has a life of its own, but not so long a one that its failure is hard to read.
const STEPS_PER_ROUND: usize = 400;

fn setting(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; give a number")),
        Err(_) => default,
    }
}

/// Tells, when a round panics, how to run it again.
struct Replay {
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            println!(
                "fuzz: a round failed; again: SERIATIM_FUZZ_SEED={seed} SERIATIM_FUZZ_FRAMES=1 \
                 cargo test -p seriatim-engine --test fuzz"
            );
        }
    }
}

fn run(frames: u64, first_seed: u64) -> Counts {
    let mut counts = Counts::default();
    let mut seed = first_seed;
    while counts.frames < frames {
        let replay = Replay { seed };
        let mut deployment = Deployment::new(seed);
        for _ in 0..STEPS_PER_ROUND {
            deployment.step(&mut counts);
        }
        deployment.end(&mut counts);
        drop(replay);
        seed = seed.wrapping_add(1);
    }
    counts
}

#[test]
fn no_bytes_of_clients_break_decoder_or_gateway() {
    let frames = setting("SERIATIM_FUZZ_FRAMES", FRAMES_DEFAULT);
    let seed = setting("SERIATIM_FUZZ_SEED", SEED_DEFAULT);
    #[expect(clippy::disallowed_methods, reason = "measures the test itself")]
    let started = std::time::Instant::now();

    let counts = run(frames, seed);

    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let per_second = counts.frames as f64 / seconds;
    println!("fuzz: seed {seed}, {seconds:.1} s, {per_second:.0} frames/s\n{counts:#?}");
    if frames >= FRAMES_DEFAULT {
        counts.assert_deep();
    }
}

#[test]
fn a_seed_gives_the_same_rounds_each_time() {
    assert_eq!(run(2_000, 7), run(2_000, 7));
    assert_ne!(run(2_000, 7), run(2_000, 8_000));
}
