//! Layers that were made of weights, kept so that a network is built anew under other LoRAs without making those again that
//! stay as they are.
//!
//! A network asks [`Weights::made`] for each layer by the path of its tensors. Weights that [remember](Weights::remembering)
//! return what they made before, and forget it where LoRAs change a tensor under its path.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Weights;
use crate::lora::AdapterSet;

/// A layer of any kind.
type Layer = Arc<dyn Any + Send + Sync>;

/// What was made of the tensors of a network, by the path of these tensors, which ends with a dot.
#[derive(Default)]
pub(super) struct Made(Mutex<BTreeMap<String, Layer>>);

impl Weights {
    /// The same tensors, which remember what is made of them as long as they or a clone live.
    ///
    /// They are for one network: of a path only one layer is made.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { made: Some(Arc::default()), ..self }
    }

    /// What `make` makes of the tensors under this path, or made of them before.
    pub(crate) fn made<T: Any + Send + Sync, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let Some(made) = &self.made else { return Ok(Arc::new(make()?)) };
        let before = made.layers().get(&self.prefix).cloned();
        if let Some(layer) = before.and_then(|layer| layer.downcast().ok()) {
            return Ok(layer);
        }
        let layer = Arc::new(make()?);
        made.layers().insert(self.prefix.clone(), layer.clone());
        Ok(layer)
    }

    /// What was made and stays the same under other LoRAs.
    pub(super) fn still_made(&self, adapters: &AdapterSet) -> Option<Arc<Made>> {
        let mut layers = self.made.as_ref()?.layers().clone();
        for weight in self.adapters.differing(adapters) {
            for (dot, _) in weight.match_indices('.') {
                layers.remove(&weight[..=dot]);
            }
        }
        Some(Arc::new(Made(Mutex::new(layers))))
    }
}

impl Made {
    /// A panic elsewhere leaves whole layers behind.
    fn layers(&self) -> MutexGuard<'_, BTreeMap<String, Layer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Weights {
    /// Where each layer that was made lies, by its path.
    pub(crate) fn places_of_made(&self) -> BTreeMap<String, usize> {
        let layers = self.made.as_ref().unwrap().layers();
        let place = |layer: &Layer| Arc::as_ptr(layer).cast::<()>().addr();
        layers.iter().map(|(path, layer)| (path.clone(), place(layer))).collect()
    }
}
