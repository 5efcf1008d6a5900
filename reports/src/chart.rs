//! The chart of delivery latencies, as an SVG that takes its page's text colour.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::ScenarioReport;

/// Stands for the page's text colour: replaced in the finished SVG, as a chart has one set of
/// colours and the page has a light and a dark one.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_IN_SVG: &str = "\"#010203\"";

/// Of the palette of Okabe and Ito, told apart with any kind of colour vision, on white and black.
/// Each has a shape of its own as well.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const VERMILION: RGBColor = RGBColor(213, 94, 0);

const WIDTH: u32 = 860;
const ROW_HEIGHT: u32 = 34;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A row for each scenario with its p50, p90 and p99; `None` when nothing was delivered.
pub(crate) fn deliveries(scenarios: &[ScenarioReport]) -> Option<String> {
    let told: Vec<&ScenarioReport> =
        scenarios.iter().filter(|scenario| scenario.deliver.count > 0).collect();
    if told.is_empty() {
        return None;
    }
    let rows = u32::try_from(told.len()).expect("scenarios are few");
    let mut svg = String::new();
    {
        let backend = SVGBackend::with_string(&mut svg, (WIDTH, ROW_HEIGHT * rows + 90));
        let area = backend.into_drawing_area();
        draw(&area, &told).expect("an SVG in memory has no limits to hit");
        area.present().expect("an SVG in memory has no limits to hit");
    }
    // For readers of screens; the table beside it has the figures.
    let titled = "<svg role=\"img\" aria-label=\"Delivery latencies by scenario\" ";
    Some(svg.replace(INK_IN_SVG, "\"currentColor\"").replacen("<svg ", titled, 1))
}

fn draw(
    area: &Area<'_>,
    scenarios: &[&ScenarioReport],
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let max = scenarios.iter().map(|scenario| scenario.deliver.p99_ms).fold(10.0, f64::max);
    let min = scenarios.iter().map(|scenario| scenario.deliver.p50_ms).fold(10.0, f64::min);
    let rows = scenarios.len() as f64;
    let style = ("sans-serif", 16).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(190)
        .build_cartesian_2d((min.max(0.1) * 0.8..max * 1.3).log_scale(), 0.0..rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK)
        .x_desc("milliseconds from the send to each recipient (logarithmic)")
        .x_label_style(style.clone())
        .axis_desc_style(style.clone())
        .x_label_formatter(&|ms| format!("{ms}"))
        .draw()?;
    for (index, scenario) in scenarios.iter().enumerate() {
        let y = rows - 0.5 - index as f64;
        let summary = &scenario.deliver;
        let (p50, p90, p99) =
            (summary.p50_ms.max(0.1), summary.p90_ms.max(0.1), summary.p99_ms.max(0.1));
        chart.draw_series([PathElement::new([(p50, y), (p99, y)], INK.mix(0.5))])?;
        chart.draw_series([Circle::new((p50, y), 5, BLUE.filled())])?;
        chart.draw_series([TriangleMarker::new((p90, y), 7, ORANGE.filled())])?;
        chart.draw_series([Cross::new((p99, y), 5, VERMILION.stroke_width(3))])?;
        let (_, row) = chart.backend_coord(&(p50, y));
        area.draw(&Text::new(scenario.name.clone(), (12, row - 8), style.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_chart_has_a_row_for_each_scenario_and_the_pages_ink() {
        let svg = deliveries(&fixture::report().scenarios).unwrap();
        assert!(svg.contains("owner-sigkill") && svg.contains("steady"));
        assert!(svg.contains("currentColor") && !svg.contains("#010203"));
        assert_eq!(svg.matches("<circle").count(), 2);
    }

    #[test]
    fn nothing_delivered_is_no_chart() {
        let mut scenarios = fixture::held().scenarios;
        scenarios[0].deliver.count = 0;
        assert_eq!(deliveries(&scenarios), None);
    }
}
