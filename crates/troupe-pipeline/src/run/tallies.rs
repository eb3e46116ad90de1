//! `tallies.json`: what a whole run was due and dealt, on every axis.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use troupe_core::plan::ScenePlan;

use crate::{PipelineError, files};

#[derive(Serialize)]
struct Tallies {
    schema: &'static str,
    pictures: usize,
    people: usize,
    axes: Vec<AxisTally>,
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

/// Adds up the proofs of all plans.
pub(super) fn write(folder: &Path, plans: &[Option<ScenePlan>]) -> Result<(), PipelineError> {
    let mut axes: Vec<AxisTally> = Vec::new();
    let mut places: BTreeMap<(String, Option<String>, String), (usize, usize)> = BTreeMap::new();
    for proof in plans.iter().flatten().flat_map(|plan| &plan.axes) {
        let at = axes.iter().position(|it| it.axis == proof.axis).unwrap_or_else(|| {
            axes.push(AxisTally { axis: proof.axis.clone(), planned: Vec::new() });
            axes.len() - 1
        });
        for cell in &proof.cells {
            for tally in &cell.tallies {
                let key = (proof.axis.clone(), cell.given.clone(), tally.value.clone());
                let planned = &mut axes[at].planned;
                let &mut (axis, place) = places.entry(key).or_insert_with(|| {
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
    for value in axes.iter_mut().flat_map(|axis| &mut axis.planned) {
        value.quota = (value.quota * 1e6).round() / 1e6;
    }
    let tallies = Tallies {
        schema: "troupe.tallies/1",
        pictures: plans.iter().flatten().count(),
        people: plans.iter().flatten().map(|plan| plan.subjects.len()).sum(),
        axes,
    };
    let text = serde_json::to_string_pretty(&tallies)
        .map_err(|error| PipelineError::Usage(format!("tallies.json can't be written: {error}")))?;
    Ok(files::write_atomically(&folder.join("tallies.json"), format!("{text}\n").as_bytes())?)
}
