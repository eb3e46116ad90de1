//! LoRAs that are bound to subjects: what they add to a layer, where their subjects are.
//!
//! `y = W·x + Σ mₗ · sₗ · Bₗ(Aₗ·x)`: mₗ is the sum of the weights of the regions whose subjects have LoRA l, on the tokens
//! of the layer's output, and sₗ holds scale and alpha / rank. A LoRA whose update isn't a product of two thin
//! matrices, or no sum at all (`DoRA`), has its outputs mixed: `y + mₗ · (Wₗ·x − W·x)`. Keys and values of a prompt are
//! those of the subject whose prompt it is, with m = 1. Every row of a batch is told the same, as with a merged LoRA.

use std::sync::Arc;

use candle_core::Tensor;
use troupe_nn::{Conv2d, Linear, NnError, add};

use super::UNetError;

/// How much of each token is of the subjects of each LoRA, on one level.
///
/// By the LoRAs in their order; `(tokens,)`, or `None` where no token is.
pub(super) type Masks<'a> = &'a [Option<Tensor>];

/// A layer, and what bound LoRAs do to it.
#[derive(Debug)]
pub(super) struct Bound<L> {
    layer: Arc<L>,
    changes: Vec<Change<L>>,
}

/// What one LoRA does to a layer.
#[derive(Debug)]
pub(super) struct Change<L> {
    /// Its number among the bound ones.
    pub(super) lora: usize,
    pub(super) kind: Kind<L>,
}

/// How a LoRA changes a layer.
#[derive(Debug)]
pub(super) enum Kind<L> {
    /// By `up · down · x`, where up holds the scale.
    LowRank { down: L, up: L },
    /// To this layer.
    Merged(L),
}

/// A layer that one tensor goes through.
pub(super) trait Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor, NnError>;
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        Self::forward(self, x)
    }
}

impl Layer for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        Self::forward(self, x)
    }
}

impl<L: Layer> Bound<L> {
    pub(super) fn new(layer: Arc<L>, changes: Vec<Change<L>>) -> Self {
        Self { layer, changes }
    }

    /// The layer alone, if no LoRA of `masks` changes it.
    pub(super) fn alone(&self, masks: Masks<'_>) -> Option<&L> {
        let changed = self.changes.iter().any(|change| mask(masks, change.lora).is_some());
        (!changed).then_some(&*self.layer)
    }

    /// Of the picture's tokens, or of its feature map: each LoRA where its mask is.
    ///
    /// Shape `(batch, …, in)` → `(batch, …, out)`.
    pub(super) fn forward(&self, x: &Tensor, masks: Masks<'_>) -> Result<Tensor, UNetError> {
        let mut y = self.layer.forward(x)?;
        for (lora, delta) in self.deltas(x, &y, |lora| mask(masks, lora).is_some())? {
            if let Some(mask) = mask(masks, lora) {
                y = add(&y, &masked(&delta, mask)?)?;
            }
        }
        Ok(y)
    }

    /// Of a prompt: with these LoRAs on all of it.
    ///
    /// Shape `(1, tokens, in)` → `(1, tokens, out)`.
    pub(super) fn forward_with(&self, x: &Tensor, loras: &[usize]) -> Result<Tensor, UNetError> {
        let mut y = self.layer.forward(x)?;
        for (_, delta) in self.deltas(x, &y, |lora| loras.contains(&lora))? {
            y = add(&y, &delta)?;
        }
        Ok(y)
    }

    /// What each of the wanted LoRAs adds to the layer's own output `y`, before any mask.
    pub(super) fn deltas(
        &self,
        x: &Tensor,
        y: &Tensor,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Tensor)>, UNetError> {
        let changes = self.changes.iter().filter(|change| wanted(change.lora));
        let delta = |change: &Change<L>| {
            let delta = match &change.kind {
                Kind::LowRank { down, up } => up.forward(&down.forward(x)?)?,
                Kind::Merged(layer) => (layer.forward(x)? - y)?,
            };
            Ok((change.lora, delta))
        };
        changes.map(delta).collect()
    }
}

impl Bound<Linear> {
    /// Of something that isn't of the picture's tokens, `(rows, in)`, and goes to all of them: what it is without LoRAs, and
    /// what each adds where its mask is.
    ///
    /// Shape `(rows, in)` → `(rows, out)`, and `(rows, 1, 1, out)` for each LoRA.
    pub(super) fn spread(
        &self,
        x: &Tensor,
        masks: Masks<'_>,
    ) -> Result<(Tensor, Vec<(usize, Tensor)>), UNetError> {
        let y = self.layer.forward(x)?;
        let (rows, out) = y.dims2()?;
        let deltas = self.deltas(x, &y, |lora| mask(masks, lora).is_some())?.into_iter();
        let of_pixels = |(lora, delta): (usize, Tensor)| {
            Ok::<_, UNetError>((lora, delta.reshape((rows, 1, 1, out))?))
        };
        Ok((y, deltas.map(of_pixels).collect::<Result<_, _>>()?))
    }
}

impl Bound<Conv2d> {
    /// With `shifts` added to every pixel on top of the bias: the sum of a bound LoRA on the way to them too.
    ///
    /// Shapes `(batch, height, width, in)` and `(1 or batch, out)` → `(batch, height, width, out)`.
    pub(super) fn forward_spread(
        &self,
        x: &Tensor,
        (shifts, deltas): &(Tensor, Vec<(usize, Tensor)>),
        masks: Masks<'_>,
    ) -> Result<Tensor, UNetError> {
        let (rows, out) = shifts.dims2()?;
        let mut y = match self.alone(masks) {
            Some(layer) if rows == 1 => layer.forward_shifted(x, &shifts.squeeze(0)?)?,
            Some(layer) => {
                let of_row = |row| layer.forward_shifted(&x.narrow(0, row, 1)?, &shifts.get(row)?);
                Tensor::cat(&(0..rows).map(of_row).collect::<Result<Vec<_>, NnError>>()?, 0)?
            }
            None => self.forward(x, masks)?.broadcast_add(&shifts.reshape((rows, 1, 1, out))?)?,
        };
        for (lora, delta) in deltas {
            if let Some(mask) = mask(masks, *lora) {
                let (_, height, width, _) = y.dims4()?;
                let mask = mask.reshape((1, height, width, 1))?;
                y = y.broadcast_add(&delta.broadcast_mul(&mask)?)?;
            }
        }
        Ok(y)
    }
}

fn mask(masks: Masks<'_>, lora: usize) -> Option<&Tensor> {
    masks.get(lora)?.as_ref()
}

/// Shapes `(batch, tokens, channels)` or `(batch, height, width, channels)`, and `(tokens,)` → that of the first.
fn masked(delta: &Tensor, mask: &Tensor) -> Result<Tensor, UNetError> {
    let mask = match *delta.dims() {
        [_, height, width, _] => mask.reshape((1, height, width, 1))?,
        _ => mask.reshape((1, mask.elem_count(), 1))?,
    };
    Ok(delta.broadcast_mul(&mask)?)
}
