//! Sums over audits: what was found on each axis, beside the shares that were wanted.

use troupe_core::audit::{Audit, JudgedBy, Presence, Reading, Unread, ValueAudit, Verdict};
use troupe_core::plan::{AxisProof, ScenePlan};

use crate::measured::{
    AxisMeasured, Boxes, Confusion, Measured, PairCell, PairMeasured, ValueMeasured, Verdicts,
};
use crate::statistics::{chi_squared, kullback_leibler, real, total_variation};

/// Sums that grow by one picture after the other.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    judges: Vec<JudgedBy>,
    pictures: u64,
    pictures_of_right_count: u64,
    people: u64,
    people_right: u64,
    boxes: Boxes,
    strangers: u64,
    nouns: Verdicts,
    axes: Vec<AxisSums>,
    pairs: Vec<PairMeasured>,
    unread: Vec<Unread>,
}

#[derive(Clone, Debug)]
struct AxisSums {
    axis: String,
    people: u64,
    verdicts: Verdicts,
    leaked: u64,
    others: u64,
    values: Vec<ValueSums>,
    confused: Vec<Confusion>,
}

#[derive(Clone, Debug)]
struct ValueSums {
    value: String,
    /// The people that the shares wanted, which needn't be whole.
    target: f64,
    planned: u64,
    found: u64,
}

impl Tallies {
    /// Adds the audit of a picture with the plan that it was painted from.
    pub fn add(&mut self, plan: &ScenePlan, audit: &Audit) {
        if !self.judges.contains(&audit.judge) {
            self.judges.push(audit.judge.clone());
        }
        self.pictures += 1;
        self.pictures_of_right_count += u64::from(audit.count_is_right());
        self.strangers += u64::try_from(audit.strangers.len()).unwrap_or(u64::MAX);
        for unread in &audit.unread {
            if !self.unread.contains(unread) {
                self.unread.push(unread.clone());
            }
        }
        for subject in &audit.subjects {
            self.people += 1;
            self.people_right += u64::from(subject.is_right());
            match subject.presence {
                Presence::One => self.boxes.one += 1,
                Presence::Nobody => self.boxes.nobody += 1,
                Presence::More => self.boxes.more += 1,
                Presence::NotSure => self.boxes.not_sure += 1,
            }
            if let Some(noun) = &subject.noun {
                self.nouns.add(noun.verdict);
            }
        }
        let read = |axis: &str| !audit.unread.iter().any(|unread| unread.axis == axis);
        for proof in plan.axes.iter().filter(|proof| read(&proof.axis)) {
            self.axis(proof).add(proof, audit);
            for given in conditions(proof, plan).filter(|axis| read(axis)) {
                self.add_pair(&proof.axis, given, audit);
            }
        }
    }

    fn axis(&mut self, proof: &AxisProof) -> &mut AxisSums {
        found_or_added(&mut self.axes, |it| it.axis == proof.axis, || AxisSums::of(&proof.axis))
    }

    fn add_pair(&mut self, axis: &str, given: &str, audit: &Audit) {
        let same = |it: &PairMeasured| it.axis == axis && it.given == given;
        let pair = found_or_added(&mut self.pairs, same, || PairMeasured {
            axis: axis.to_owned(),
            given: given.to_owned(),
            cells: Vec::new(),
            total_variation: None,
        });
        for subject in &audit.subjects {
            let on = |axis: &str| subject.values.iter().find(|value| value.axis == axis);
            let (Some(of), Some(value)) = (on(given), on(axis)) else { continue };
            pair.cell(&of.reading.planned, &value.reading.planned).planned += 1;
            if let (Some(of), Some(value)) = (&of.reading.found, &value.reading.found) {
                pair.cell(of, value).found += 1;
            }
        }
    }

    /// The sums as they are.
    pub fn measured(&self) -> Measured {
        let pair = |pair: &PairMeasured| {
            let all: u64 = pair.cells.iter().map(|cell| cell.planned).sum();
            let share = |cell: &PairCell| (real(cell.planned) / real(all), cell.found);
            let cells: Vec<(f64, u64)> = pair.cells.iter().map(share).collect();
            PairMeasured { total_variation: total_variation(&cells).map(rounded), ..pair.clone() }
        };
        Measured {
            schema: "troupe.measured/1",
            judges: self.judges.clone(),
            pictures: self.pictures,
            pictures_of_right_count: self.pictures_of_right_count,
            people: self.people,
            people_right: self.people_right,
            boxes: self.boxes,
            strangers: self.strangers,
            nouns: self.nouns,
            axes: self.axes.iter().map(AxisSums::measured).collect(),
            pairs: self.pairs.iter().map(pair).collect(),
            unread: self.unread.clone(),
        }
    }
}

impl AxisSums {
    fn of(axis: &str) -> Self {
        Self {
            axis: axis.to_owned(),
            people: 0,
            verdicts: Verdicts::default(),
            leaked: 0,
            others: 0,
            values: Vec::new(),
            confused: Vec::new(),
        }
    }

    fn add(&mut self, proof: &AxisProof, audit: &Audit) {
        for tally in proof.cells.iter().flat_map(|cell| &cell.tallies) {
            self.value(&tally.value).target += tally.target;
        }
        let own = |value: &&ValueAudit| value.axis == proof.axis;
        for value in audit.subjects.iter().filter_map(|subject| subject.values.iter().find(own)) {
            let Reading { planned, verdict, found, .. } = &value.reading;
            self.people += 1;
            self.verdicts.add(*verdict);
            self.value(planned).planned += 1;
            let Some(found) = found else { continue };
            if proof.values.iter().any(|it| it.name == *found) {
                self.value(found).found += 1;
            } else {
                self.others += 1;
            }
            if *verdict == Verdict::Wrong {
                let leaked = u64::from(!value.planned_of.is_empty());
                self.leaked += leaked;
                let confusion = self.confusion(planned, found);
                confusion.people += 1;
                confusion.leaked += leaked;
            }
        }
    }

    fn value(&mut self, name: &str) -> &mut ValueSums {
        let same = |it: &ValueSums| it.value == name;
        found_or_added(&mut self.values, same, || ValueSums {
            value: name.to_owned(),
            target: 0.0,
            planned: 0,
            found: 0,
        })
    }

    fn confusion(&mut self, planned: &str, found: &str) -> &mut Confusion {
        let same = |it: &Confusion| it.planned == planned && it.found == found;
        found_or_added(&mut self.confused, same, || Confusion {
            planned: planned.to_owned(),
            found: found.to_owned(),
            people: 0,
            leaked: 0,
        })
    }

    fn measured(&self) -> AxisMeasured {
        let targets: f64 = self.values.iter().map(|value| value.target).sum();
        let share = |value: &ValueSums| if 0.0 < targets { value.target / targets } else { 0.0 };
        let mut cells: Vec<(f64, u64)> =
            self.values.iter().map(|value| (share(value), value.found)).collect();
        cells.push((0.0, self.others));
        let told: u64 = cells.iter().map(|(_, found)| found).sum();
        let values = self.values.iter().map(|value| ValueMeasured {
            value: value.value.clone(),
            share: rounded(share(value)),
            planned: value.planned,
            found: value.found,
            found_share: (0 < told).then(|| rounded(real(value.found) / real(told))),
        });
        let mut of_all = cells.clone();
        of_all.push((0.0, self.people - told));
        AxisMeasured {
            axis: self.axis.clone(),
            people: self.people,
            verdicts: self.verdicts,
            leaked: self.leaked,
            values: values.collect(),
            others: self.others,
            total_variation: total_variation(&cells).map(rounded),
            total_variation_of_all: total_variation(&of_all).map(rounded),
            kullback_leibler: kullback_leibler(&cells).map(rounded),
            chi_squared_p: chi_squared(&cells).map(rounded),
            confused: self.confused.clone(),
        }
    }
}

impl PairMeasured {
    fn cell(&mut self, given: &str, value: &str) -> &mut PairCell {
        let same = |it: &PairCell| it.given == given && it.value == value;
        found_or_added(&mut self.cells, same, || PairCell {
            given: given.to_owned(),
            value: value.to_owned(),
            planned: 0,
            found: 0,
        })
    }
}

/// The one of a list of which this holds, or a new one at its end: lists stay in the order in which things first came.
fn found_or_added<T>(
    list: &mut Vec<T>,
    same: impl Fn(&T) -> bool,
    new: impl FnOnce() -> T,
) -> &mut T {
    let at = list.iter().position(same).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[at]
}

/// The axes on which shares of this one depend in a plan, each once; a condition reads "age is older".
fn conditions<'a>(proof: &'a AxisProof, plan: &'a ScenePlan) -> impl Iterator<Item = &'a str> {
    let depends = |axis: &str| {
        let given = proof.cells.iter().filter_map(|cell| cell.given.as_deref());
        given.filter_map(|given| given.strip_prefix(axis)).any(|rest| rest.starts_with(" is "))
    };
    plan.axes.iter().map(|it| it.axis.as_str()).filter(move |axis| depends(axis))
}

/// To six decimals, as a person reads it.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests;
