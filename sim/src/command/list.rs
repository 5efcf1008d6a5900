//! `list`: regressions and catalog. `faults`: the kinds of faults.

use seriatim_scenarios::catalog;
use seriatim_scenarios::fault::table;

#[expect(clippy::print_stdout, reason = "the list is the output")]
pub(super) fn run() -> anyhow::Result<u8> {
    let scenarios: Vec<_> = catalog::regressions().into_iter().chain(catalog::all()).collect();
    let width = scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
    for scenario in scenarios {
        println!("{:width$}  {}", scenario.name, scenario.question);
    }
    Ok(0)
}

#[expect(clippy::print_stdout, reason = "the list is the output")]
pub(super) fn faults(markdown: bool) -> anyhow::Result<u8> {
    print!("{}", if markdown { table::markdown() } else { table::plain() });
    Ok(0)
}
