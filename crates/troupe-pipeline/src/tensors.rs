//! The two small tensor files of `paint`: noise that comes in, latents that go out.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize};
use troupe_models::weights::Weights;
use troupe_render::{Noise, RenderError, Tensor4};

use crate::{PipelineError, files};

/// Reads `noise` and, if it is there, `step_noise` from a safetensors file.
///
/// # Errors
///
/// If the file isn't valid, or has no `noise` of four dimensions.
pub fn read_noise(path: &Path) -> Result<Noise, PipelineError> {
    let weights =
        Weights::new(&path.display().to_string(), files::map(path)?).map_err(RenderError::from)?;
    let noise = read(path, &weights, "noise")?
        .ok_or_else(|| problem(path, "has no tensor `noise`".to_owned()))?;
    Ok(Noise::Given { noise, steps: read(path, &weights, "step_noise")? })
}

/// Writes latents as `latents`.
///
/// # Errors
///
/// If the file can't be written.
pub fn write_latents(path: &Path, latents: &Tensor4) -> Result<(), PipelineError> {
    let bytes: Vec<u8> = latents.values.iter().flat_map(|it| it.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, latents.shape.to_vec(), &bytes)
        .map_err(|error| problem(path, error.to_string()))?;
    let file =
        serialize([("latents", view)], None).map_err(|error| problem(path, error.to_string()))?;
    Ok(files::write_atomically(path, &file)?)
}

fn read(path: &Path, weights: &Weights, name: &str) -> Result<Option<Tensor4>, PipelineError> {
    let Some(shape) = weights.shape(name).map(<[usize]>::to_vec) else {
        return Ok(None);
    };
    let Ok(four) = <[usize; 4]>::try_from(shape.clone()) else {
        let text = format!("`{name}` has shape {shape:?}, and four dimensions were wanted");
        return Err(problem(path, text));
    };
    let tensor = weights.get(name, &shape).map_err(RenderError::from)?;
    let values = tensor.flatten_all().and_then(|flat| flat.to_vec1()).map_err(RenderError::from)?;
    Ok(Some(Tensor4 { shape: four, values }))
}

fn problem(path: &Path, problem: String) -> PipelineError {
    PipelineError::Tensors { path: path.to_owned(), problem }
}
