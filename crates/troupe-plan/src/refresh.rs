//! Takes a plan up again after a person has changed it.

use troupe_core::plan::{Cell, ScenePlan, Subject, Tally};

use crate::{axes, phrase};

/// Rebuilds each sub-prompt from its subject's values unless it is marked as edited, recounts what was dealt, and marks
/// the plan as edited if anything differs from what it said. Quotas stay as planned.
///
/// A subject counts in the first of an axis's cells whose condition holds for it, else where none holds; a cell that the
/// plan hasn't got is added, with nothing due in it. What a person has been given on an axis that doesn't apply to what
/// they are is painted and isn't counted. The base prompt stays as it is.
pub fn refresh(plan: &mut ScenePlan) {
    let before = plan.clone();
    for (index, subject) in before.subjects.iter().enumerate() {
        if !subject.edited {
            plan.subjects[index].sub_prompt = phrase::sub_prompt(&before, subject);
        }
    }
    for axis in 0..plan.axes.len() {
        recount(plan, axis);
    }
    // The cast gives nobody a LoRA.
    let by_hand = plan.subjects.iter().any(|subject| subject.edited || !subject.loras.is_empty());
    if by_hand || *plan != before {
        plan.edited = true;
    }
}

fn recount(plan: &mut ScenePlan, axis: usize) {
    let proof = &mut plan.axes[axis];
    let names: Vec<&str> = proof.values.iter().map(|value| value.name.as_str()).collect();
    for tally in
        proof.cells.iter_mut().flat_map(|cell| &mut cell.tallies).chain(&mut proof.marginal)
    {
        tally.dealt = 0;
    }
    for subject in &plan.subjects {
        let assigned = subject.values.iter().find(|assigned| assigned.axis == proof.axis);
        let Some(assigned) = assigned else { continue };
        if !axes::applies(proof.applies_to.as_deref(), &subject.noun) {
            continue;
        }
        let value = assigned.value.as_str();
        let place = proof.cells.iter().position(|cell| holds(cell, subject)).unwrap_or_else(|| {
            let tallies = names.iter().map(|name| nothing_due(name)).collect();
            proof.cells.push(Cell { given: None, people: 0, tallies });
            proof.cells.len() - 1
        });
        count(&mut proof.cells[place].tallies, value);
        count(&mut proof.marginal, value);
    }
    for running in proof.cells.iter_mut().flat_map(|cell| &mut cell.tallies) {
        let dealt = u64::from(running.dealt);
        if let Some(running) = &mut running.running {
            running.dealt_after = running.dealt_before.saturating_add(dealt);
        }
    }
}

fn count(tallies: &mut [Tally], value: &str) {
    if let Some(tally) = tallies.iter_mut().find(|tally| tally.value == value) {
        tally.dealt += 1;
    }
}

fn holds(cell: &Cell, subject: &Subject) -> bool {
    cell.given.as_ref().is_none_or(|label| {
        subject.values.iter().any(|it| *label == format!("{} is {}", it.axis, it.value))
    })
}

fn nothing_due(value: &str) -> Tally {
    let value = value.to_owned();
    Tally { value, share: 0.0, target: 0.0, stated: 0, quota: 0.0, dealt: 0, running: None }
}
