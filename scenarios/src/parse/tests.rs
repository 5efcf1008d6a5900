//! What scenario files may and may not say.

use proptest::prelude::*;

use super::*;
use crate::fault::{Key, Setting, Word};
use crate::scenario::{IsolationBound, Noise};

fn read(text: &str) -> Result<Scenario, ParseError> {
    scenario("some/path/case.toml", text)
}

/// The error of a file with a question and `text`, without the file's name.
fn error(text: &str) -> String {
    let error = read(&format!("question = \"?\"\n{text}")).expect_err(text).to_string();
    error.strip_prefix("some/path/case.toml:").expect("the file comes first").to_owned()
}

const EVERYTHING: &str = r#"
question = "What do readers notice when their gateway loses power?"

[cluster]
gateways = 3
message_nodes = 2
shards = 16
store = "local"
workspaces = 4
user_rate_per_s = 300
workspace_rate_per_s = 900
sync_ms = { min = 2, max = 9 }

[network]
latency_ms = { min = 1, max = 20, tail = "heavy" }
link_bytes_per_s = 123456

[workload]
users = 200
channels = 40
members = { min = 2, max = 50 }
sends_per_s = 100
reconnects_per_min = 6
body_bytes = { min = 32, max = 512 }
warm_up_s = 5
duration_s = 60.5

[noise]
at_s = 20.5
hot_channels = 2
busy_workspaces = 1
slow_readers = 3
slow_bytes_per_s = 5000
sends_per_s = 77

[simulator]
tick_ms = 20

[membership]
private_percent = 45
departures_per_min = 90
departure_s = { min = 0.5, max = 6 }
unaware_percent = 25
visits_per_min = 31
visit_s = 2
trespasses_per_min = 32

[presence]
second_device_percent = 40
watched = 6
hidden_percent = 20
states_per_min = 30
hides_per_min = 6
absences_per_min = 10
absence_s = { min = 2, max = 20.5 }
watches_per_min = 11
typing_per_min = 31

[[fault]]
kind = "power_loss"
target = "gateway:any"
at_s = { min = 10, max = 20.25 }
for_s = 5

[[fault]]
kind = "reset"
target = "gateway:1-messages:2"
at_s = 12
every_s = 2
times = 4

[[fault]]
kind = "crash_loop"
target = "messages:any"
at_s = 20
for_s = { min = 2, max = 9 }
how = "power_loss"
up_ms = { min = 50, max = 900 }
down_ms = 250

[[fault]]
kind = "clock_jump"
target = "gateway:2"
at_s = 30
offset_ms = { min = -3600000, max = 3600000 }

[[fault]]
kind = "rolling_restart"
target = "cluster"
at_s = 40
gap_ms = 100

[expect]
gives_up = ["convergence"]
converge_within_s = 15
accepted_min = 5000
delivery_ms = { p99 = 2000 }
isolation = { p99_ms = 150, max_ms = 900, p99_percent = 250 }
"#;

#[test]
fn a_file_with_every_key_is_read_as_it_is_written() {
    let scenario = read(EVERYTHING).unwrap();
    assert_eq!(scenario.name, "case");
    assert_eq!(scenario.cluster.shards, 16);
    assert_eq!(
        (scenario.cluster.user_rate, scenario.cluster.workspace_rate),
        (Some(300), Some(900))
    );
    assert_eq!(scenario.cluster.sync.map(|sync| sync.max), Some(Duration::from_millis(9)));
    assert_eq!(scenario.network.link_bytes_per_s, Some(123_456));
    let at = Duration::from_millis(20_500);
    let noise = Noise {
        at,
        hot_channels: 2,
        busy_workspaces: 1,
        slow_readers: 3,
        slow_bytes_per_s: 5_000,
        sends_per_s: 77,
    };
    assert_eq!(scenario.noise, Some(noise));
    let isolation = IsolationBound {
        p99: Duration::from_millis(150),
        max: Some(Duration::from_millis(900)),
        p99_percent: Some(250),
    };
    assert_eq!(scenario.expect.isolation, Some(isolation));
    assert_eq!(scenario.network.tail, Tail::Heavy);
    assert_eq!(scenario.workload.members, Range { min: 2, max: 50 });
    assert_eq!(scenario.workload_end(), Duration::from_millis(65_500));
    assert_eq!(scenario.tick, Duration::from_millis(20));
    let membership = scenario.membership.unwrap();
    assert_eq!((membership.private_percent, membership.unaware_percent), (45, 25));
    assert_eq!((membership.departures_per_min, membership.visits_per_min), (90, 31));
    assert_eq!(membership.departure.min, Duration::from_millis(500));
    assert_eq!((membership.visit.max, membership.trespasses_per_min), (Duration::from_secs(2), 32));
    let presence = scenario.presence.unwrap();
    assert_eq!((presence.second_device_percent, presence.watched), (40, 6));
    assert_eq!((presence.hidden_percent, presence.states_per_min), (20, 30));
    assert_eq!((presence.hides_per_min, presence.absences_per_min), (6, 10));
    assert_eq!(presence.absence.max, Duration::from_millis(20_500));
    assert_eq!((presence.watches_per_min, presence.typing_per_min), (11, 31));
    let [loss, reset, crashes, jump, restart] = &scenario.faults[..] else {
        panic!("{:?}", scenario.faults)
    };
    assert_eq!(loss.at.max, Duration::from_millis(20_250));
    assert_eq!(loss.lasts.min, Duration::from_secs(5));
    assert_eq!((reset.times, reset.every), (4, Duration::from_secs(2)));
    let number = |min, max| Some(Setting::Number(Range { min, max }));
    assert_eq!(crashes.settings.get(&Key::UpMs).copied(), number(50, 900));
    assert_eq!(crashes.settings.get(&Key::How), Some(&Setting::Word(Word::PowerLoss)));
    assert_eq!(jump.settings.get(&Key::OffsetMs).copied(), number(-3_600_000, 3_600_000));
    assert_eq!(restart.settings.get(&Key::GapMs).copied(), number(100, 100));
    assert_eq!(restart.settings.get(&Key::How), Some(&Setting::Word(Word::Drain)));
    assert_eq!(scenario.expect.gives_up, ["convergence"]);
    assert_eq!(scenario.expect.delivery_p99, Some(Duration::from_secs(2)));
}

#[test]
fn a_question_is_all_that_a_file_needs() {
    let scenario = read("question = \"Does it run?\"").unwrap();
    assert_eq!((scenario.cluster.gateways, scenario.cluster.message_nodes), (3, 2));
    assert_eq!((scenario.workload.users, scenario.workload.channels), (100, 25));
    assert!(read("").unwrap_err().to_string().contains("1:1: `question` is missing"));
    assert!(
        read("question = ' '").unwrap_err().to_string().contains("1:12: the question is empty")
    );
}

#[test]
fn unknown_keys_are_pointed_at_with_the_known_ones() {
    let found = error("[cluster]\ngateway = 3\n");
    assert!(found.starts_with("3:1: unknown field `gateway`"), "{found}");
    assert!(found.contains("`gateways`"), "{found}");
    let fault = "[[fault]]\nkind = \"reset\"\ntarget = \"clients\"\nat_s = 9\nwhen = 1\n";
    assert!(error(fault).starts_with("6:1: unknown field `when`"), "{}", error(fault));
    assert!(error("[extra]\n").starts_with("2:2: unknown field `extra`"));
    let range = "[[fault]]\nkind = \"reset\"\ntarget = \"clients\"\nat_s = { min = 1, top = 2 }\n";
    assert!(error(range).starts_with("5:19: unknown field `top`"), "{}", error(range));
}

#[test]
fn wrong_types_and_broken_toml_are_pointed_at() {
    assert!(error("[cluster]\ngateways = \"3\"\n").starts_with("3:12: invalid type"));
    assert!(error("[workload]\nwarm_up_s = \"5\"\n").contains("expected a number of seconds"));
    assert!(error("[cluster\n").starts_with("2:"), "{}", error("[cluster\n"));
    assert!(error("[network]\nlatency_ms = { min = 1 }\n").contains("missing field `max`"));
}

#[test]
fn columns_count_characters() {
    let found =
        read("question = \"é\"\ncluster = { store = \"日本\", gateways = 9 }\n").unwrap_err();
    assert_eq!((found.line, found.column), (2, 21));
    let found = read("question = \"é\" x").unwrap_err();
    assert_eq!((found.line, found.column), (1, 16), "{found}");
}

#[test]
fn values_out_of_range_and_nonsense_are_refused_with_a_remedy() {
    let cases = [
        ("[cluster]\ngateways = 5\n", "3:12: `gateways` is 5; give 1 to 4"),
        ("[cluster]\ngateways = -1\n", "3:12: `gateways` is -1; give 1 to 4"),
        ("[cluster]\nmessage_nodes = 0\n", "give 1 to 3"),
        ("[cluster]\nstore = \"shared\"\n", "3:9: store \"shared\" is not supported yet"),
        ("[cluster]\nstore = \"mysql\"\n", "unknown store \"mysql\""),
        ("[network]\nlatency_ms = { min = 9, max = 2 }\n", "3:14: `latency_ms` has min above max"),
        ("[network]\nlatency_ms = { min = 1, max = 2, tail = \"fat\" }\n", "3:41: unknown tail"),
        ("[workload]\nusers = 3\n", "`users` is 3; give 4 to 5000"),
        (
            "[workload]\nmembers = { min = 2, max = 26 }\n",
            "3:28: `members.max` is 26 but a workspace",
        ),
        ("[workload]\nmembers = { min = 3, max = 2 }\n", "min above max"),
        ("[workload]\nbody_bytes = { min = 0, max = 9 }\n", "`body_bytes.min` is 0"),
        ("[workload]\nbody_bytes = { min = 1, max = 16385 }\n", "give 1 to 16384"),
        ("[workload]\nwarm_up_s = 0\n", "`warm_up_s` is 0; give 1 to 86400 seconds"),
        ("[workload]\nwarm_up_s = nan\n", "`warm_up_s` is NaN"),
        ("[workload]\nduration_s = inf\n", "`duration_s` is inf"),
        ("[workload]\nsends_per_s = 9999\nduration_s = 3600\n", "sends in all"),
        ("[simulator]\ntick_ms = 0\n", "3:11: `tick_ms` is 0; give 1 to 1000"),
        ("[membership]\nprivate_percent = 101\n", "`private_percent` is 101; give 0 to 100"),
        ("[membership]\nvisit_s = 0\n", "3:11: `visit_s` is 0; give 0.001 to 86400 seconds"),
        ("[membership]\ndeparture_s = { min = 3, max = 1 }\n", "`departure_s` has min above max"),
        ("[membership]\nleaves = 2\n", "3:1: unknown field `leaves`"),
        (
            "[workload]\nduration_s = 86400\nsends_per_s = 1\n[membership]\nvisits_per_min = 999\n",
            "6:18: `visits_per_min` makes 1438560 in all; the limit is 200000",
        ),
        ("[presence]\nwatched = 501\n", "3:11: `watched` is 501; give 0 to 500"),
        ("[presence]\nhidden_percent = 101\n", "3:18: `hidden_percent` is 101; give 0 to 100"),
        ("[presence]\nabsence_s = { min = 9, max = 3 }\n", "3:13: `absence_s` has min above max"),
        ("[presence]\nabsence_s = 0\n", "`absence_s` is 0; give 0.001 to 86400 seconds"),
        ("[presence]\ndevices = 2\n", "3:1: unknown field `devices`"),
        (
            "[workload]\nduration_s = 86400\nsends_per_s = 1\n[presence]\nhides_per_min = 9999\n",
            "6:17: `hides_per_min` makes 14398560 changes; the limit is 2000000: lower it",
        ),
        ("[expect]\nconverge_within_s = 0\n", "`converge_within_s` is 0"),
        ("[expect]\naccepted_min = -4\n", "`accepted_min` is -4"),
    ];
    for (text, expected) in cases {
        let found = error(text);
        assert!(found.contains(expected), "{found} should say {expected}");
    }
}

#[test]
fn faults_that_cannot_happen_are_refused_with_a_remedy() {
    let fault = |kind: &str, target: &str, rest: &str| {
        error(&format!("[[fault]]\nkind = {kind:?}\ntarget = {target:?}\n{rest}\n"))
    };
    let cases = [
        (
            fault("fire", "gateway:1", "at_s = 9"),
            "3:8: unknown fault \"fire\"; known are partition",
        ),
        (
            fault("reset", "gateway:9", "at_s = 9"),
            "4:10: there is no gateway:9: the cluster has gateways = 3",
        ),
        (fault("reset", "server:1", "at_s = 9"), "4:10: unknown target \"server:1\""),
        (fault("sigkill", "clients", "at_s = 9\nfor_s = 1"), "sigkill cannot hit \"clients\""),
        (fault("sigkill", "gateway:1", "at_s = 9"), "3:8: sigkill lasts; say for how long"),
        (fault("reset", "gateway:1", "at_s = 9\nfor_s = 3"), "6:9: reset is over at once"),
        (fault("reset", "gateway:1", "at_s = 35"), "5:8: the fault would begin at 35 s"),
        (fault("reset", "gateway:1", "at_s = {min = 9, max = 36}"), "would begin at 36 s"),
        (fault("reset", "gateway:1", "at_s = {min = 9, max = 3}"), "min above max"),
        (fault("reset", "gateway:1", "at_s = 9\nevery_s = 9\ntimes = 5"), "would begin at 45 s"),
        (fault("reset", "gateway:1", "at_s = 9\ntimes = 5"), "`times` needs `every_s`"),
        (fault("reset", "gateway:1", "at_s = 9\nevery_s = 5"), "`every_s` needs `times`"),
        (
            fault("partition", "gateway:1", "at_s = 9\nfor_s = 4\nevery_s = 4\ntimes = 2"),
            "`every_s` must be longer than `for_s`",
        ),
        (
            fault("partition", "clients", "at_s = 9\nfor_s = 1\nlatency_ms = 5"),
            "7:14: partition has no `latency_ms`, take it away; it has no keys of its own",
        ),
        (
            fault("latency_spike", "clients", "at_s = 9\nfor_s = 1\nlatency_ms = 0"),
            "7:14: `latency_ms` is 0; give 1 to 60000",
        ),
        (
            fault("latency_spike", "clients", "at_s = 9\nfor_s = 1\nlatency_ms = \"long\""),
            "`latency_ms` is \"long\"; give a number from 1 to 60000",
        ),
        (
            fault("cut", "clients", "at_s = 9\nfor_s = 1\ndirection = \"up\""),
            "`direction` is \"up\"; write \"any\" or \"out\" or \"in\"",
        ),
        (
            fault("crash_loop", "gateway:1", "at_s = 9\nfor_s = 3000\nup_ms = 20\ndown_ms = 20"),
            "6:9: 75000 crashes in a row; the limit is 1000",
        ),
        (fault("wipe", "messages:1", "at_s = 9\nfor_s = 1"), "wipe cannot hit \"messages:1\""),
        (
            fault("bit_rot", "messages:1", "at_s = 9"),
            "3:8: bit_rot can destroy the only copy of what was accepted",
        ),
        (
            fault("bit_rot", "messages:1", "at_s = 9\n[expect]\ngives_up = [\"luck\"]"),
            "there is no guarantee \"luck\" to give up; known are dense-order",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{found} should say {expected}");
    }
}

#[test]
fn noise_needs_quiet_before_it_and_somebody_who_makes_it_and_somebody_who_does_not() {
    let noise = |keys: &str| error(&format!("[noise]\nsends_per_s = 9\n{keys}\n"));
    let early = noise("at_s = 5\nhot_channels = 1");
    assert!(early.starts_with("4:8: the noise begins at 5 s; give 6 to 34 s"), "{early}");
    let nobody = noise("at_s = 9");
    assert!(nobody.contains("nobody makes the noise; give `hot_channels`"), "{nobody}");
    for all in
        ["busy_workspaces = 4", "hot_channels = 25", "hot_channels = 18\nbusy_workspaces = 1"]
    {
        let all = noise(&format!("at_s = 9\n{all}"));
        assert!(all.contains("no channel is left that is not noisy"), "{all}");
    }
    let slow = noise("at_s = 9\nslow_readers = 2");
    assert!(slow.contains("`sends_per_s` go into noisy channels, and there are none"), "{slow}");
    let silent = error("[noise]\nat_s = 9\nhot_channels = 1\n");
    assert!(silent.contains("the noisy channels are silent; give `sends_per_s`"), "{silent}");
    let everybody = noise("at_s = 9\nslow_readers = 51");
    assert!(everybody.contains("`slow_readers` is 51; give 0 to 50"), "{everybody}");
    let bound = error("[expect]\nisolation = { p99_ms = 9 }\n");
    assert!(bound.starts_with("3:13: `isolation` bounds what others notice of noise"), "{bound}");
    let percent = error("[expect]\nisolation = { p99_ms = 9, p99_percent = 99 }\n");
    assert!(percent.contains("`isolation.p99_percent` is 99; give 100 to 10000"), "{percent}");
    let flood =
        "[workload]\nduration_s = 9000\n[noise]\nat_s = 9\nhot_channels = 1\nsends_per_s = 900";
    assert!(error(flood).contains("the limit is 2000000"), "{}", error(flood));
}

#[test]
fn a_lying_disk_voids_promises_only_beside_a_power_loss() {
    let lying = "question = \"?\"\n[[fault]]\nkind = \"lying_fsync\"\ntarget = \"messages:1\"\n\
                 at_s = 9\nfor_s = 1\n";
    let loss = "[[fault]]\nkind = \"power_loss\"\ntarget = \"messages:any\"\nat_s = 9\nfor_s = 1\n";
    assert!(read(lying).is_ok());
    assert!(read(&format!("{lying}{loss}")).is_err());
    assert!(read(&format!("{lying}{}", loss.replace("messages", "gateway"))).is_ok());
}

/// Draws a plan of what is accepted; what is refused must be pointed at, with something to say.
fn is_drawn_or_pointed_at(text: &str) {
    match read(text) {
        Ok(scenario) => {
            crate::plan::Plan::draw(&scenario, 1);
        }
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1);
            let width = line.map(|line| line.chars().count());
            assert!(width.is_some_and(|width| (1..=width + 1).contains(&error.column)), "{error}");
            assert!(!error.message.trim().is_empty() && !error.message.contains('\n'), "{error}");
        }
    }
}

/// Pieces of scenario files in any order make files that are nearly right.
fn nearly_a_scenario() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        prop::sample::select(EVERYTHING.lines().map(str::to_owned).collect::<Vec<String>>()),
        ("[a-z_]{1,12}", any::<i64>()).prop_map(|(key, value)| format!("{key} = {value}")),
        (
            prop::sample::select(vec![
                "users",
                "at_s",
                "for_s",
                "every_s",
                "times",
                "duration_s",
                "up_ms",
                "gap_ms",
                "offset_ms",
                "latency_ms",
                "tick_ms",
                "watched",
                "hidden_percent",
                "absence_s",
                "states_per_min",
            ]),
            prop_oneof![
                any::<i64>().prop_map(|value| value.to_string()),
                any::<f64>().prop_map(|value| format!("{value:?}")),
            ],
        )
            .prop_map(|(key, value)| format!("{key} = {value}")),
        "\\PC{0,30}",
    ];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n"))
}

/// Texts for each of the tests below; proptest's own default unless `SERIATIM_FUZZ_SCENARIOS` says.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    match std::env::var("SERIATIM_FUZZ_SCENARIOS") {
        Ok(text) => {
            let cases =
                text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number of texts"));
            ProptestConfig { cases, ..default }
        }
        Err(_) => default,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        is_drawn_or_pointed_at(&text);
    }

    #[test]
    fn no_mixture_of_lines_makes_it_panic_and_what_is_accepted_can_be_drawn(
        text in nearly_a_scenario()
    ) {
        is_drawn_or_pointed_at(&text);
    }

    #[test]
    fn one_changed_number_makes_no_panic(nth in 0..110_usize, put in prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        (-5_i64..5_000).prop_map(|number| number.to_string()),
    ]) {
        // The numbers stand behind the marks, each between two of them.
        let mut parts: Vec<&str> = EVERYTHING.split(|c: char| c.is_ascii_digit()).collect();
        let nth = nth % parts.len();
        let text = match parts.split_off(nth) {
            rest if rest.is_empty() => parts.join("1"),
            rest => format!("{}{put}{}", parts.join("1"), rest.join("1")),
        };
        is_drawn_or_pointed_at(&text);
    }

    #[test]
    fn one_changed_character_makes_no_panic(at in 0..EVERYTHING.len(), put in any::<char>()) {
        let mut text = EVERYTHING.to_owned();
        let at = text.floor_char_boundary(at);
        text.replace_range(at..at + 1, &put.to_string());
        is_drawn_or_pointed_at(&text);
    }
}
