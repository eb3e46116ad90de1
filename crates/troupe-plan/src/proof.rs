//! What a plan file says of its own proportions.

use troupe_core::axis::Scope;
use troupe_core::plan::{AxisProof, Cell, Running, Tally};

use crate::axes::CheckedAxis;
use crate::cast::Record;
use crate::seats::Asked;

/// The stream that rounds an axis, or one of its lists of shares.
pub(crate) fn stream(axis: &CheckedAxis, list: usize) -> String {
    let given = axis.given.get(list).map_or(String::new(), |it| format!("/{}", it.label));
    format!("cast/{}{given}", axis.name)
}

/// Units of a grid as people, rounded to six decimals.
#[expect(
    clippy::cast_precision_loss,
    reason = "for a person to read; the exact number is kept elsewhere"
)]
pub(crate) fn people(units: u128, grid: u64) -> f64 {
    ((units as f64 / grid as f64) * 1e6).round() / 1e6
}

/// The proof of one axis in one picture.
pub(crate) fn prove(axis: &CheckedAxis, records: &[Record], mixed: &[Asked]) -> AxisProof {
    let cells: Vec<Cell> = records.iter().map(|record| cell(axis, record)).collect();
    AxisProof {
        axis: axis.name.clone(),
        applies_to: axis.applies_to.clone(),
        scope: axis.scope,
        stream: stream(axis, axis.given.len()),
        mixed: mixed.iter().map(|asked| asked.word.clone()).collect(),
        values: axis.values.clone(),
        marginal: marginal(axis, &cells),
        cells,
    }
}

fn cell(axis: &CheckedAxis, record: &Record) -> Cell {
    let shares = &axis.shares[record.list];
    let tally = |value: usize| {
        let (quota, dealt) = (record.quotas.quota[value], record.dealt[value]);
        let running = record.before.as_ref().map(|before| Running {
            quota_before: people(before.quota[value], shares.grid),
            dealt_before: before.dealt[value],
            quota_after: people(before.quota[value] + u128::from(quota), shares.grid),
            dealt_after: before.dealt[value] + u64::from(dealt),
        });
        Tally {
            value: axis.values[value].name.clone(),
            share: shares.share(value),
            target: people(u128::from(record.quotas.target[value]), shares.grid),
            stated: record.stated[value],
            quota: people(u128::from(quota), shares.grid),
            dealt,
            running: running.filter(|_| axis.scope == Scope::Batch),
        }
    };
    Cell {
        given: axis.given.get(record.list).map(|it| it.label.clone()),
        people: record.people,
        tallies: (0..axis.values.len()).map(tally).collect(),
    }
}

/// The sums over the cells, where there are several. Running totals belong to the cells.
fn marginal(axis: &CheckedAxis, cells: &[Cell]) -> Vec<Tally> {
    if cells.len() < 2 {
        return Vec::new();
    }
    let people: u32 = cells.iter().map(|cell| cell.people).sum();
    let of = |value: usize| {
        let tallies = || cells.iter().map(move |cell| &cell.tallies[value]);
        let sum =
            |field: fn(&Tally) -> f64| (tallies().map(field).sum::<f64>() * 1e6).round() / 1e6;
        let target = sum(|it| it.target);
        Tally {
            value: axis.values[value].name.clone(),
            share: (target / f64::from(people) * 1e6).round() / 1e6,
            target,
            stated: tallies().map(|it| it.stated).sum(),
            quota: sum(|it| it.quota),
            dealt: tallies().map(|it| it.dealt).sum(),
            running: None,
        }
    };
    (0..axis.values.len()).map(of).collect()
}
