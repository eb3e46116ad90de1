//! What LoRAs that are bound to subjects do to the weights of a network, which stay as they are.

use candle_core::{Device, Tensor};

use super::{Weights, WeightsError, printable};
use crate::lora::LowRank;

/// What a LoRA that is bound to a subject does to a weight.
#[derive(Debug)]
pub(crate) enum BoundUpdate {
    /// It adds `up · down`.
    LowRank {
        /// A, `(rank, in, …)`.
        down: Tensor,
        /// B with scale and alpha / rank, `(out, rank)`.
        up: Tensor,
    },
    /// It makes this of it.
    Merged(Tensor),
}

impl Weights {
    /// What each bound LoRA that changes the tensor `name` does to it, by its number.
    ///
    /// # Errors
    ///
    /// If the tensor or a LoRA's can't be read.
    pub(crate) fn bound(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<(usize, BoundUpdate)>, WeightsError> {
        let key = self.key(name);
        let mut updates = Vec::new();
        for (lora, set) in self.bound.iter().enumerate() {
            if !set.changes(&key) {
                continue;
            }
            let tensor = |source| WeightsError::Tensor {
                file: self.set.name.clone(),
                key: printable(&key, 200),
                source: Box::new(source),
            };
            let update = if let Some([LowRank { down, up, multiplier }]) =
                set.low_rank(&key)?.as_deref()
            {
                let shape = [&down.dims()[..1], &shape[1..]].concat();
                BoundUpdate::LowRank {
                    down: down.reshape(shape).map_err(tensor)?,
                    up: up.affine(*multiplier, 0.0).map_err(tensor)?,
                }
            } else {
                let weight = self.get(name, shape)?;
                let values = weight.flatten_all().and_then(|it| it.to_vec1()).map_err(tensor)?;
                let merged = set.merge(&key, shape, values)?;
                let merged = Tensor::from_vec(merged, shape, &Device::Cpu);
                BoundUpdate::Merged(merged.map_err(tensor)?)
            };
            updates.push((lora, update));
        }
        Ok(updates)
    }
}
