//! Puts the tensors of one module of a LoRA together to the updates of its weight and its bias.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;

use super::LoraError;
use super::alpha::{Alpha, Alphas};
use super::factor::{Factor, UpOrder};
use super::magnitude::{Form, Magnitude};
use super::names::{Part, Target};
use super::update::{Delta, Update};
use crate::weights::{TensorFile, printable};

/// The update of one module.
#[derive(Debug)]
pub(super) struct AdapterModule {
    pub(super) target: Target,
    /// All of its tensors in the file, and what they change.
    pub(super) keys: Vec<(String, Field)>,
    pub(super) kind: Kind,
    /// At least one.
    pub(super) updates: Vec<(Field, Update)>,
    /// Of what is a product.
    pub(super) rank: Option<usize>,
    /// Of what is scaled by one.
    pub(super) alpha: Option<Alpha>,
}

/// What people call a module's update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// Two matrices, or a convolution and a matrix.
    #[serde(rename = "LoRA")]
    Lora,
    /// Two matrices with a core between them.
    #[serde(rename = "LoCon in Tucker form")]
    Tucker,
    /// Two products, multiplied element by element.
    #[serde(rename = "LoHa")]
    Loha,
    /// The Kronecker product of two.
    #[serde(rename = "LoKr")]
    Lokr,
    /// The difference itself.
    #[serde(rename = "full difference")]
    Full,
}

/// What of a module is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Weight,
    Bias,
}

/// The tensors of a module by what they are to it, as they are found one by one.
#[derive(Default)]
pub(super) struct Found(BTreeMap<Part, String>);

/// Tensors that have no place, and why.
pub(super) type Misfit = (Vec<String>, String);

/// What a weight's update is made of, before alpha is known.
struct Raw {
    kind: Kind,
    delta: Delta,
}

impl AdapterModule {
    /// The names of its tensors in the file but that of alpha.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &str> {
        self.updates.iter().flat_map(|(_, update)| update.keys())
    }
}

impl Found {
    /// Takes a tensor; the error is the one that is there for the same part already.
    pub(super) fn insert(&mut self, part: Part, key: &str) -> Result<(), String> {
        match self.0.entry(part) {
            Entry::Vacant(slot) => {
                slot.insert(key.to_owned());
                Ok(())
            }
            Entry::Occupied(slot) => Err(slot.get().clone()),
        }
    }

    /// The module, or the tensors of it that have no place and why; the outer error is of the file.
    pub(super) fn module(
        mut self,
        target: Target,
        file: &TensorFile,
        alphas: &Alphas,
    ) -> Result<Result<AdapterModule, Misfit>, LoraError> {
        let keys: Vec<(String, Field)> =
            self.0.iter().map(|(part, key)| (key.clone(), field(*part))).collect();
        let beside = match self.0.remove(&Part::Alpha) {
            Some(key) => Some(file.scalar(&key)?),
            None => None,
        };
        let all = || keys.iter().map(|(key, _)| key.clone()).collect();
        Ok(self.assemble(target, file, alphas, beside, &keys).map_err(|reason| (all(), reason)))
    }

    fn assemble(
        mut self,
        target: Target,
        file: &TensorFile,
        alphas: &Alphas,
        beside: Option<f64>,
        keys: &[(String, Field)],
    ) -> Result<AdapterModule, String> {
        let magnitude = self.magnitude()?;
        let bias_of_up = self.0.remove(&Part::UpBias);
        let difference_of_bias = self.0.remove(&Part::DiffBias);
        let raw = self.delta()?;
        let mut module = AdapterModule {
            target,
            keys: keys.to_vec(),
            kind: raw.as_ref().map_or(Kind::Full, |raw| raw.kind),
            updates: Vec::new(),
            rank: None,
            alpha: None,
        };
        let mut factor = 1.0;
        match raw {
            Some(Raw { kind: Kind::Full, .. }) if magnitude.is_some() => {
                return Err("a full difference has no magnitude".to_owned());
            }
            Some(Raw { kind, delta }) => {
                let measured = delta.measure(file)?;
                if kind != Kind::Full {
                    if alphas.wants_magnitude(&module.target) && magnitude.is_none() {
                        let rule = "its configuration says `use_dora`, and it has no magnitude";
                        return Err(rule.to_owned());
                    }
                    module.rank = measured.rank;
                    module.alpha = alphas.of(&module.target, measured.rank, beside)?;
                    factor = module.alpha.map_or(1.0, |alpha| alpha.factor);
                }
                module.updates.push((Field::Weight, Update { delta, factor, magnitude }));
            }
            None if magnitude.is_some() || bias_of_up.is_some() || beside.is_some() => {
                return Err("its module lacks one of the two matrices".to_owned());
            }
            None => {}
        }
        match (bias_of_up, difference_of_bias) {
            (Some(_), Some(_)) => return Err("its bias is changed in two ways".to_owned()),
            (Some(key), None) => module.updates.push((Field::Bias, vector(key, factor))),
            (None, Some(key)) => module.updates.push((Field::Bias, vector(key, 1.0))),
            (None, None) => {}
        }
        Ok(module)
    }

    fn magnitude(&mut self) -> Result<Option<Magnitude>, String> {
        match (self.0.remove(&Part::Magnitude), self.0.remove(&Part::DoraScale)) {
            (Some(_), Some(_)) => Err("its magnitude is there in two forms".to_owned()),
            (Some(key), None) => Ok(Some(Magnitude { key, form: Form::Peft })),
            (None, Some(key)) => Ok(Some(Magnitude { key, form: Form::Lycoris })),
            (None, None) => Ok(None),
        }
    }

    /// What changes the weight; the tensors that are left must be of one kind, and all of it.
    fn delta(&mut self) -> Result<Option<Raw>, String> {
        let raw = if self.has(&[Part::Down, Part::Up, Part::Mid]) {
            let mid = self.0.remove(&Part::Mid);
            let (up, down) = self.both(Part::Up, Part::Down)?;
            Some(match mid {
                None => Raw { kind: Kind::Lora, delta: Delta::Plain(Factor::Product { up, down }) },
                Some(core) => {
                    let order = UpOrder::OutFirst;
                    let delta = Delta::Plain(Factor::Tucker { core, up, down, order });
                    Raw { kind: Kind::Tucker, delta }
                }
            })
        } else if self.has(&[Part::HadaW1A, Part::HadaW1B, Part::HadaW2A, Part::HadaW2B]) {
            let first = self.product(Some(Part::HadaT1), Part::HadaW1A, Part::HadaW1B)?;
            let second = self.product(Some(Part::HadaT2), Part::HadaW2A, Part::HadaW2B)?;
            Some(Raw { kind: Kind::Loha, delta: Delta::Hadamard(first, second) })
        } else if self.has(&[Part::LokrW1, Part::LokrW1A, Part::LokrW2, Part::LokrW2A]) {
            let first = match self.0.remove(&Part::LokrW1) {
                Some(whole) => Factor::Whole(whole),
                None => self.product(None, Part::LokrW1A, Part::LokrW1B)?,
            };
            let second = match self.0.remove(&Part::LokrW2) {
                Some(whole) => Factor::Whole(whole),
                None => self.product(Some(Part::LokrT2), Part::LokrW2A, Part::LokrW2B)?,
            };
            Some(Raw { kind: Kind::Lokr, delta: Delta::Kronecker(first, second) })
        } else {
            self.0.remove(&Part::Diff).map(|key| {
                let delta = Delta::Plain(Factor::Whole(key));
                Raw { kind: Kind::Full, delta }
            })
        };
        match self.0.first_key_value() {
            None => Ok(raw),
            Some((_, key)) => {
                let key = printable(key, 200);
                Err(format!("`{key}` doesn't belong to the others of its module"))
            }
        }
    }

    fn has(&self, parts: &[Part]) -> bool {
        parts.iter().any(|part| self.0.contains_key(part))
    }

    /// Two matrices that are nothing without one another.
    fn both(&mut self, first: Part, second: Part) -> Result<(String, String), String> {
        match (self.0.remove(&first), self.0.remove(&second)) {
            (Some(first), Some(second)) => Ok((first, second)),
            (_, _) => Err("its module lacks one of the two matrices".to_owned()),
        }
    }

    /// A product of LyCORIS, with a core in the Tucker form.
    fn product(&mut self, core: Option<Part>, up: Part, down: Part) -> Result<Factor, String> {
        let core = core.and_then(|core| self.0.remove(&core));
        let (up, down) = self.both(up, down)?;
        Ok(match core {
            None => Factor::Product { up, down },
            Some(core) => Factor::Tucker { core, up, down, order: UpOrder::RankFirst },
        })
    }
}

/// What of a module a tensor changes.
fn field(part: Part) -> Field {
    if matches!(part, Part::UpBias | Part::DiffBias) { Field::Bias } else { Field::Weight }
}

/// The update of a bias.
fn vector(key: String, factor: f64) -> Update {
    Update { delta: Delta::Plain(Factor::Whole(key)), factor, magnitude: None }
}
