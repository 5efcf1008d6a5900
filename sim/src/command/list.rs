//! `list`: the catalog.

use seriatim_scenarios::catalog;

#[expect(clippy::print_stdout, reason = "the list is the output")]
pub(super) fn run() -> anyhow::Result<u8> {
    let scenarios = catalog::all();
    let width = scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
    for scenario in scenarios {
        println!("{:width$}  {}", scenario.name, scenario.question);
    }
    Ok(0)
}
