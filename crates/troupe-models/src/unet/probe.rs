//! What self-attention tells of who is where: how much the tokens of each subject's region listen to that region, to those of
//! others and to the background.
//!
//! A person's tokens listen to one another. Where nobody has come to be, they listen to the background, and where two people
//! have run together, to the neighbour's region (cf. Jo et al. 2025, "ISAC", arXiv:2505.20935, which moves latents by it).

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{Device, Tensor};
use troupe_nn::attention;

use super::UNetError;

/// Collects what the self-attentions of a pass tell.
#[derive(Debug)]
pub struct Probe {
    wanted: Wanted,
    found: Mutex<Found>,
}

/// What a probe collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To whom regions listen, in attentions whose tokens see one another freely.
    Shares,
    /// What tokens are known by: keys, which are alike where tokens are of one thing (Amir et al. 2021, arXiv:2112.05814).
    Keys,
}

/// What was collected, in the order of the layers.
#[derive(Debug, Default)]
struct Found {
    listened: Vec<Listened>,
    keys: Vec<(usize, Tensor)>,
}

/// What one self-attention tells, of the last row of the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Listened {
    /// How often the tokens were halved, in each direction.
    pub level: usize,
    /// For each subject that owns a token here: which subject, and to whom its tokens listen.
    pub subjects: Vec<(usize, Shares)>,
}

/// To whom the tokens of a subject's region listen, in the mean; together one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// To tokens of the same region.
    pub own: f32,
    /// To those of other subjects.
    pub others: f32,
    /// To those of nobody.
    pub background: f32,
}

impl Probe {
    /// One that has seen nothing yet.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, found: Mutex::default() }
    }

    /// To whom regions listened, since it was asked last.
    pub fn listened(&self) -> Vec<Listened> {
        std::mem::take(&mut self.found().listened)
    }

    /// Of the layers of the finest level that has any: the level and its keys, since it was asked last, `(tokens, channels)`.
    pub fn keys(&self) -> Vec<(usize, Tensor)> {
        std::mem::take(&mut self.found().keys)
    }

    /// A panic elsewhere leaves whole entries behind, or none.
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one attention of the level; `owners` are those of its tokens, and whether they are hidden from one another.
    ///
    /// Shapes: `query` and `key` `(batch, tokens, channels)`.
    pub(super) fn look(
        &self,
        (query, key): (&Tensor, &Tensor),
        heads: usize,
        level: usize,
        (owners, hidden): (&[Option<usize>], bool),
    ) -> Result<(), UNetError> {
        let (batch, tokens, channels) = query.dims3()?;
        let last = |x: &Tensor| x.narrow(0, batch - 1, 1)?.contiguous();
        match self.wanted {
            Wanted::Keys => {
                let mut found = self.found();
                let finest = found.keys.first().map_or(level, |(level, _)| *level);
                if level < finest {
                    found.keys.clear();
                }
                if level <= finest {
                    found.keys.push((level, last(key)?.reshape((tokens, channels))?));
                }
                return Ok(());
            }
            Wanted::Shares if hidden => return Ok(()),
            Wanted::Shares => {}
        }
        let (query, key) = (last(query)?, last(key)?);
        let subjects = owners.iter().flatten().max().map_or(0, |most| most + 1);
        let dim = channels.checked_div(heads).unwrap_or(0).max(1);
        // The attention's output is what is wanted where the values say whose each token is, as many subjects at a time as a
        // head has channels.
        let mut heard = vec![vec![0.0_f32; tokens]; subjects];
        for first in (0..subjects).step_by(dim) {
            let mut values = vec![0.0_f32; tokens * channels];
            for (token, owner) in owners.iter().enumerate() {
                let Some(at) = owner.and_then(|owner| owner.checked_sub(first)) else { continue };
                if at < dim {
                    for head in 0..heads {
                        values[token * channels + head * dim + at] = 1.0;
                    }
                }
            }
            let values = Tensor::from_vec(values, (1, tokens, channels), &Device::Cpu)?;
            let out = attention(&query, &key, &values, heads, None)?;
            let out: Vec<f32> = out.flatten_all()?.to_vec1()?;
            for (token, out) in out.chunks_exact(channels).enumerate() {
                for (at, heard) in heard.iter_mut().skip(first).take(dim).enumerate() {
                    let sum: f32 = out.iter().skip(at).step_by(dim).sum();
                    heard[token] = sum / number(heads);
                }
            }
        }
        let shares = (0..subjects).filter_map(|subject| {
            let own: Vec<usize> =
                (0..tokens).filter(|&token| owners[token] == Some(subject)).collect();
            if own.is_empty() {
                return None;
            }
            let mean = |of: &[f32]| own.iter().map(|&it| of[it]).sum::<f32>() / number(own.len());
            let all: f32 = heard.iter().map(|of| mean(of)).sum();
            let own = mean(&heard[subject]);
            Some((subject, Shares { own, others: all - own, background: 1.0 - all }))
        });
        let listened = Listened { level, subjects: shares.collect() };
        self.found().listened.push(listened);
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "tokens and heads stay far below 2²⁴")]
fn number(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that listen to those with the same sign of a channel, and to nobody else.
    #[test]
    fn whom_a_region_listens_to_is_counted_for_each_subject() {
        let (probe, heads, dim) = (Probe::new(Wanted::Shares), 2, 2);
        let signs = [1.0_f32, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0, -1.0];
        // The third subject's tokens are one of each sign.
        let owners = [Some(0), Some(0), None, Some(1), Some(1), None, Some(2), Some(2)];
        let x: Vec<f32> = signs.iter().flat_map(|sign| [40.0 * sign; 4]).collect();
        let last = Tensor::from_vec(x, (1, 8, heads * dim), &Device::Cpu).unwrap();
        let x = Tensor::cat(&[last.zeros_like().unwrap(), last], 0).unwrap();
        probe.look((&x, &x), heads, 1, (&owners, true)).unwrap();
        assert!(probe.listened().is_empty(), "where others are hidden nothing is told");
        probe.look((&x, &x), heads, 1, (&owners, false)).unwrap();
        let found = probe.listened();
        assert_eq!((found.len(), found[0].level, found[0].subjects.len()), (1, 1, 3));
        // Of four tokens of a sign two are the first subject's, one nobody's, one the third's.
        let wanted = [(0.5, 0.25, 0.25), (0.5, 0.25, 0.25), (0.25, 0.5, 0.25)];
        for ((subject, shares), (at, wanted)) in
            found[0].subjects.iter().zip(wanted.into_iter().enumerate())
        {
            assert_eq!(*subject, at);
            let near = |found: f32, wanted: f32| (found - wanted).abs() < 1e-5;
            assert!(near(shares.own, wanted.0), "{shares:?}");
            assert!(near(shares.others, wanted.1), "{shares:?}");
            assert!(near(shares.background, wanted.2), "{shares:?}");
        }
        assert!(probe.listened().is_empty());

        let probe = Probe::new(Wanted::Keys);
        probe.look((&x, &x), heads, 1, (&owners, true)).unwrap();
        probe.look((&x, &x), heads, 2, (&owners, true)).unwrap();
        let keys = probe.keys();
        let [(1, key)] = &keys[..] else { panic!("one layer of level 1") };
        let rows = key.to_vec2::<f32>().unwrap();
        assert_eq!(rows, signs.map(|sign| vec![40.0 * sign; 4]));
    }
}
