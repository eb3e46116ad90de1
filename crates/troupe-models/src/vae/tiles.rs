//! Pictures and latents in tiles, so that memory depends on the tile and not on the picture.
//!
//! The way is that of diffusers' `tiled_decode` and `tiled_encode`: square tiles, each of which
//! overlaps the one before it by a quarter of its side, over which the two are blended linearly.
//! Norms see one tile at a time, so that the whole is near to what one piece gives, and not it.

use candle_core::{Device, Tensor};

use crate::error::ModelError;

/// The size of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Invariant: a multiple of four, and not zero.
    latents: usize,
}

impl Tiles {
    /// Tiles of so many latents on each side; `None` unless it is a multiple of four.
    pub fn new(latents: usize) -> Option<Self> {
        (0 < latents && latents.is_multiple_of(4)).then_some(Self { latents })
    }

    /// Tiles of so many pixels on each side, of which each latent spans so many; `None` unless they come to a multiple of
    /// four latents.
    pub fn of_pixels(pixels: usize, pixels_per_latent: usize) -> Option<Self> {
        let latents = pixels.checked_div(pixels_per_latent)?;
        Self::new(latents).filter(|_| pixels.is_multiple_of(pixels_per_latent))
    }

    /// The latents on each side of a tile.
    pub fn latents(self) -> usize {
        self.latents
    }
}

/// An image of rows, columns and channels while it is put together.
struct Canvas {
    values: Vec<f32>,
    height: usize,
    width: usize,
    channels: usize,
}

/// Runs `network` on tiles of `side`, which it turns into tiles of `out_side`, and blends them.
///
/// Shape `(batch, height, width, channels)` → what `network` makes of the whole, in size.
pub(super) fn in_tiles(
    x: &Tensor,
    side: usize,
    out_side: usize,
    network: impl Fn(&Tensor) -> Result<Tensor, ModelError>,
) -> Result<Tensor, ModelError> {
    let (batch, height, width, _) = x.dims4()?;
    if height <= side && width <= side {
        return network(x);
    }
    let (step, blend) = (side - (side >> 2), out_side >> 2);
    let kept = out_side - blend;
    let mut pictures = Vec::with_capacity(batch);
    for index in 0..batch {
        let x = x.narrow(0, index, 1)?;
        let mut rows: Vec<Tensor> = Vec::new();
        let mut above: Vec<Canvas> = Vec::new();
        for top in (0..height).step_by(step) {
            let mut row: Vec<Canvas> = Vec::new();
            for left in (0..width).step_by(step) {
                let tile = x.narrow(1, top, side.min(height - top))?;
                let tile = tile.narrow(2, left, side.min(width - left))?.contiguous()?;
                let mut tile = Canvas::new(&network(&tile)?)?;
                if let Some(above) = above.get(row.len()) {
                    tile.blend_below(above, blend);
                }
                if let Some(before) = row.last() {
                    tile.blend_right_of(before, blend);
                }
                row.push(tile);
            }
            let cut = row.iter().map(|tile| tile.corner(kept)).collect::<Result<Vec<_>, _>>()?;
            rows.push(Tensor::cat(&cut, 2)?);
            above = row;
        }
        pictures.push(Tensor::cat(&rows, 1)?);
    }
    Ok(Tensor::cat(&pictures, 0)?)
}

impl Canvas {
    /// Shape `(1, height, width, channels)`.
    fn new(x: &Tensor) -> Result<Self, ModelError> {
        let (_, height, width, channels) = x.dims4()?;
        Ok(Self { values: x.flatten_all()?.to_vec1()?, height, width, channels })
    }

    /// Fades from the last rows of `above` to the first of this.
    fn blend_below(&mut self, above: &Self, rows: usize) {
        let rows = rows.min(above.height).min(self.height);
        let count = self.width.min(above.width) * self.channels;
        for y in 0..rows {
            let from = (above.height - rows + y) * above.width * self.channels;
            let to = y * self.width * self.channels;
            let source = &above.values[from..from + count];
            fade(&mut self.values[to..to + count], source, part(y, rows));
        }
    }

    /// Fades from the last columns of `before` to the first of this.
    fn blend_right_of(&mut self, before: &Self, columns: usize) {
        let columns = columns.min(before.width).min(self.width);
        for y in 0..self.height.min(before.height) {
            for x in 0..columns {
                let from = (y * before.width + before.width - columns + x) * self.channels;
                let to = (y * self.width + x) * self.channels;
                let source = &before.values[from..from + self.channels];
                fade(&mut self.values[to..to + self.channels], source, part(x, columns));
            }
        }
    }

    /// At most `side` rows and columns from the top left.
    fn corner(&self, side: usize) -> Result<Tensor, ModelError> {
        let shape = (1, self.height, self.width, self.channels);
        let whole = Tensor::from_slice(&self.values, shape, &Device::Cpu)?;
        let rows = whole.narrow(1, 0, side.min(self.height))?;
        Ok(rows.narrow(2, 0, side.min(self.width))?.contiguous()?)
    }
}

/// How far `index` is on the way through `count`.
#[expect(clippy::cast_precision_loss, reason = "sides stay far below 2²⁴")]
fn part(index: usize, count: usize) -> f32 {
    index as f32 / count as f32
}

fn fade(values: &mut [f32], from: &[f32], part: f32) {
    for (value, from) in values.iter_mut().zip(from) {
        *value = from * (1.0 - part) + *value * part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_what_does_not_change_give_it_back() {
        // Each value is the place that it comes from, and the network does nothing.
        let values: Vec<f32> = (0..11_u8 * 9).map(f32::from).collect();
        let x = Tensor::from_vec(values.clone(), (1, 11, 9, 1), &Device::Cpu).unwrap();
        for side in [4, 8, 12] {
            let whole = in_tiles(&x, side, side, |tile| Ok(tile.clone())).unwrap();
            let found: Vec<f32> = whole.flatten_all().unwrap().to_vec1().unwrap();
            let same = found.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(same && whole.dims() == [1, 11, 9, 1], "side {side}: {found:?}");
        }
    }

    #[test]
    fn a_side_that_has_no_quarter_is_none() {
        assert_eq!([0, 3, 6].map(Tiles::new), [None; 3]);
        assert_eq!(Tiles::new(64).map(Tiles::latents), Some(64));
    }

    #[test]
    fn pixels_are_latents_or_none() {
        let latents = |pixels| Tiles::of_pixels(pixels, 8).map(Tiles::latents);
        assert_eq!([32, 64, 96, 512].map(latents), [Some(4), Some(8), Some(12), Some(64)]);
        assert_eq!([0, 8, 31, 33, 63, 65, 100].map(latents), [None; 7]);
        assert_eq!(Tiles::of_pixels(32, 0), None);
    }
}
