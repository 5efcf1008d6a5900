//! `/metrics` is what Prometheus reads, to the letter.

use std::collections::BTreeMap;

use seriatim_engine::ids::{ChannelId, SeqNo};

use crate::plain_http::Plain;
use crate::process::Server;
use crate::user::{User, world};

/// Names with their texts.
type Labels = Vec<(String, String)>;

/// Samples of one name, each with its labels.
type Samples = BTreeMap<Labels, f64>;

/// Everything that belongs together.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: BTreeMap<String, Samples>,
}

/// Reads version 0.0.4 of the text format as strictly as its description allows.
fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(format!("no help: {line}"))?;
            check_name(name)?;
            current = name.to_owned();
            let family = Family { help: help.to_owned(), ..Family::default() };
            if families.insert(current.clone(), family).is_some() {
                return Err(format!("{name} comes twice"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let family = families.get_mut(&current).ok_or(format!("no HELP before {line}"))?;
            let kind = rest.strip_prefix(&format!("{current} ")).ok_or(line.to_owned())?;
            if !["counter", "gauge", "histogram"].contains(&kind) || !family.kind.is_empty() {
                return Err(format!("not a type, or a second one: {line}"));
            }
            family.kind = kind.to_owned();
        } else {
            let (name, labels, value) = parse_sample(line)?;
            let family = families.get_mut(&current).ok_or(format!("no family: {line}"))?;
            let ending = name.strip_prefix(current.as_str()).ok_or(format!("stray: {line}"))?;
            let endings: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            if !endings.contains(&ending) {
                return Err(format!("not of {current}, a {}: {line}", family.kind));
            }
            let samples = family.samples.entry(ending.to_owned()).or_default();
            if samples.insert(labels, value).is_some() {
                return Err(format!("a series comes twice: {line}"));
            }
        }
    }
    Ok(families)
}

fn parse_sample(line: &str) -> Result<(String, Labels, f64), String> {
    let (series, value) = line.rsplit_once(' ').ok_or(format!("no value: {line}"))?;
    let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
    let Some((name, labels)) = series.split_once('{') else {
        check_name(series)?;
        return Ok((series.to_owned(), Vec::new(), value));
    };
    check_name(name)?;
    let labels = labels.strip_suffix('}').ok_or(format!("open labels: {line}"))?;
    let mut parsed = Vec::new();
    for label in labels.split(',') {
        let (label, text) = label.split_once('=').ok_or(format!("no label: {line}"))?;
        check_name(label)?;
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let text = text.filter(|text| !text.contains(['"', '\\']));
        parsed.push((label.to_owned(), text.ok_or(format!("no text: {line}"))?.to_owned()));
    }
    Ok((name.to_owned(), parsed, value))
}

fn check_name(name: &str) -> Result<(), String> {
    let sound = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if sound { Ok(()) } else { Err(format!("not a name: {name:?}")) }
}

/// A histogram's buckets rise to its count, series by series.
fn check_histogram(name: &str, family: &Family) -> Result<(), String> {
    let mut series = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
    for (labels, value) in &family.samples["_bucket"] {
        let (bounds, others): (Vec<_>, Vec<_>) =
            labels.iter().cloned().partition(|(label, _)| label == "le");
        let bound = bounds.first().ok_or(format!("{name}: a bucket without le"))?;
        let bound = bound.1.parse().map_err(|_| format!("{name}: le is {}", bound.1))?;
        series.entry(others).or_default().push((bound, *value));
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let rises = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let (last, all) = buckets.pop().expect("a series has a bucket");
        let count = family.samples["_count"].get(&labels);
        if !rises || last != f64::INFINITY || count != Some(&all) {
            return Err(format!(
                "{name}: {labels:?} has {buckets:?}, +Inf {all}, {count:?} in all"
            ));
        }
        if !family.samples["_sum"].contains_key(&labels) {
            return Err(format!("{name}: {labels:?} has no sum"));
        }
    }
    Ok(())
}

#[test]
fn the_parser_refuses_what_prometheus_would() {
    let head = "# HELP a_total Help.\n# TYPE a_total counter\n";
    assert!(parse(&format!("{head}a_total{{b=\"c\"}} 1\n")).is_ok());
    for bad in [
        "a_total 1",
        "a_total 1\na_total 2\n",
        "b_total 1\n",
        "a_total{b=c} 1\n",
        "a_total{b=\"c\" 1\n",
        "a_total one\n",
        "# HELP a_total Again.\n",
    ] {
        assert!(parse(&format!("{head}{bad}")).is_err(), "{bad} was taken");
    }
}

#[tokio::test]
async fn figures_are_sound_and_say_what_they_are_and_in_which_unit() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &channel).await;
    ada.send(&channel);
    ada.settle(&world).await;
    ada.reach(&world, &channel, SeqNo(2)).await;
    let answer = Plain::connect(&world, &server.address).await.get("/metrics").await;

    let families = parse(&answer.body).unwrap();

    assert!(families.len() > 30, "{:?}", families.keys());
    for (name, family) in &families {
        assert!(family.help.ends_with('.') && family.help.len() > 8, "{name}: {}", family.help);
        // A counter counts the thing that its name says; a histogram is of its unit.
        match family.kind.as_str() {
            "counter" => assert!(name.ends_with("_total"), "{name}"),
            "histogram" => {
                assert!(["_seconds", "_entries"].iter().any(|unit| name.ends_with(unit)), "{name}");
                check_histogram(name, family).unwrap();
            }
            _ => assert!(!name.ends_with("_total"), "{name}"),
        }
    }
    for name in ["accept", "deliver", "durable", "fsync", "store_commit"] {
        let family = &families[&format!("seriatim_{name}_seconds")];
        assert!(family.samples["_count"].values().sum::<f64>() > 0.0, "{name} counts nothing");
    }
}
