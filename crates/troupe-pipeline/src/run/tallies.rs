//! `tallies.json`: what a whole run was due and dealt, on every axis.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use troupe_core::plan::ScenePlan;

use super::write_json;
use crate::PipelineError;

/// The sums over the plans of a run, of which no more than one is in memory at a time.
#[derive(Default)]
pub(super) struct Tallies {
    pictures: usize,
    people: usize,
    axes: Vec<AxisTally>,
    /// Where in `axes` the sum of an axis, a condition and a value is.
    places: BTreeMap<(String, Option<String>, String), (usize, usize)>,
}

/// `tallies.json`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    pictures: usize,
    people: usize,
    axes: &'a [AxisTally],
}

#[derive(Serialize)]
struct AxisTally {
    axis: String,
    /// By condition and value: what was due, stated and dealt.
    planned: Vec<ValueTally>,
}

#[derive(Serialize)]
struct ValueTally {
    #[serde(skip_serializing_if = "Option::is_none")]
    given: Option<String>,
    value: String,
    quota: f64,
    stated: u64,
    dealt: u64,
}

impl Tallies {
    /// Adds the proof of a plan.
    pub(super) fn add(&mut self, plan: &ScenePlan) {
        self.pictures += 1;
        self.people += plan.subjects.len();
        let axes = &mut self.axes;
        for proof in &plan.axes {
            let at = axes.iter().position(|it| it.axis == proof.axis).unwrap_or_else(|| {
                axes.push(AxisTally { axis: proof.axis.clone(), planned: Vec::new() });
                axes.len() - 1
            });
            for cell in &proof.cells {
                for tally in &cell.tallies {
                    let key = (proof.axis.clone(), cell.given.clone(), tally.value.clone());
                    let planned = &mut axes[at].planned;
                    let &mut (axis, place) = self.places.entry(key).or_insert_with(|| {
                        planned.push(ValueTally {
                            given: cell.given.clone(),
                            value: tally.value.clone(),
                            quota: 0.0,
                            stated: 0,
                            dealt: 0,
                        });
                        (at, planned.len() - 1)
                    });
                    let sum = &mut axes[axis].planned[place];
                    sum.quota += tally.quota;
                    sum.stated += u64::from(tally.stated);
                    sum.dealt += u64::from(tally.dealt);
                }
            }
        }
    }

    /// Writes the sums into a run's folder.
    pub(super) fn write(mut self, folder: &Path) -> Result<(), PipelineError> {
        for value in self.axes.iter_mut().flat_map(|axis| &mut axis.planned) {
            value.quota = (value.quota * 1e6).round() / 1e6;
        }
        let document = Document {
            schema: "troupe.tallies/1",
            pictures: self.pictures,
            people: self.people,
            axes: &self.axes,
        };
        write_json(&folder.join("tallies.json"), &document)
    }
}
