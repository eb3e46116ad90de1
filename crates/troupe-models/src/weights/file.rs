//! One safetensors file: its checked header, and the numbers behind it.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use super::header::{Entry, Header, printable};
use super::{Bytes, WeightsError};

/// How many elements are converted at a time.
pub(super) const CHUNK: usize = 1024;
/// How many elements are held at a time where none are kept.
pub(super) const HELD: usize = 64 * CHUNK;

/// A file whose header has been checked.
pub(crate) struct TensorFile {
    name: String,
    bytes: Bytes,
    header: Header,
}

impl TensorFile {
    pub(crate) fn new(name: &str, bytes: Bytes) -> Result<Self, WeightsError> {
        let header = Header::read(name, (*bytes).as_ref())?;
        Ok(Self { name: printable(name, 200), bytes, header })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.header.tensors.get(key)
    }

    /// So many elements of a tensor that must be there, from `start` on.
    pub(crate) fn values_from(
        &self,
        key: &str,
        start: usize,
        count: usize,
    ) -> Result<Vec<f32>, WeightsError> {
        let missing = || WeightsError::Missing {
            file: self.name.clone(),
            key: printable(key, 200),
            wanted: vec![count],
        };
        let entry = self.entry(key).ok_or_else(missing)?;
        let size = entry.dtype.bitsize() >> 3;
        let from = entry.range.start + start * size;
        let range = from..from + count * size;
        if entry.range.end < range.end {
            return Err(missing());
        }
        let part = Entry { dtype: entry.dtype, shape: vec![count], range };
        self.values(key, &part)
    }

    /// The elements of a tensor that must be there.
    pub(crate) fn required_values(&self, key: &str) -> Result<Vec<f32>, WeightsError> {
        self.values(key, self.required(key)?)
    }

    /// Checks the elements of a tensor that must be there as [`Self::required_values`] does, and keeps none of them.
    pub(crate) fn check_values(&self, key: &str) -> Result<(), WeightsError> {
        let count: usize = self.required(key)?.shape.iter().product();
        // Without elements there is still a type to check.
        for start in (0..count.max(1)).step_by(HELD) {
            self.values_from(key, start, HELD.min(count - start))?;
        }
        Ok(())
    }

    fn required(&self, key: &str) -> Result<&Entry, WeightsError> {
        self.entry(key).ok_or_else(|| WeightsError::Missing {
            file: self.name.clone(),
            key: printable(key, 200),
            wanted: Vec::new(),
        })
    }

    /// The one number of a tensor, which may be an integer.
    pub(crate) fn scalar(&self, key: &str) -> Result<f64, WeightsError> {
        let rule = || WeightsError::Corrupt {
            file: self.name.clone(),
            rule: format!(
                "has a tensor `{}`, and one finite number was wanted",
                printable(key, 200)
            ),
        };
        let entry = self.entry(key).ok_or_else(rule)?;
        let bytes = self.slice(entry)?;
        let exact = |integer: i64| i32::try_from(integer).ok().map(f64::from);
        let value = if entry.dtype == Dtype::I64 {
            bytes.try_into().ok().map(i64::from_le_bytes).and_then(exact)
        } else if entry.dtype == Dtype::I32 {
            bytes.try_into().ok().map(i32::from_le_bytes).map(f64::from)
        } else if entry.dtype == Dtype::F64 {
            bytes.try_into().ok().map(f64::from_le_bytes)
        } else if let [value] = self.values(key, entry)?.as_slice() {
            Some(f64::from(*value))
        } else {
            None
        };
        value.filter(|value| value.is_finite()).ok_or_else(rule)
    }

    /// The error for a failure of the tensor library.
    pub(crate) fn tensor_error(&self, key: &str, source: candle_core::Error) -> WeightsError {
        WeightsError::Tensor {
            file: self.name.clone(),
            key: printable(key, 200),
            source: Box::new(source),
        }
    }

    /// The bytes of a tensor.
    fn slice(&self, entry: &Entry) -> Result<&[u8], WeightsError> {
        // The header was checked against these bytes, and a map of a file could have shrunk since.
        (*self.bytes).as_ref().get(entry.range.clone()).ok_or_else(|| WeightsError::Corrupt {
            file: self.name.clone(),
            rule: "became shorter while it was read".to_owned(),
        })
    }

    /// The elements of a tensor as f32, all of them finite.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else the format has or will have is refused"
    )]
    pub(crate) fn values(&self, key: &str, entry: &Entry) -> Result<Vec<f32>, WeightsError> {
        let bytes = self.slice(entry)?;
        let values = match entry.dtype {
            Dtype::F32 => elements(bytes, f32::from_le_bytes).collect(),
            Dtype::F16 => widen(bytes, f16::from_le_bytes),
            Dtype::BF16 => widen(bytes, bf16::from_le_bytes),
            found => {
                return Err(WeightsError::Dtype {
                    file: self.name.clone(),
                    key: printable(key, 200),
                    found,
                });
            }
        };
        // No early exit, so that the loop over a chunk is a few vector instructions.
        let finite =
            |chunk: &[f32]| chunk.iter().fold(true, |finite, value| finite & value.is_finite());
        if !values.chunks(CHUNK).all(finite) {
            return Err(WeightsError::NotFinite {
                file: self.name.clone(),
                key: printable(key, 200),
            });
        }
        Ok(values)
    }
}

/// The numbers that little-endian bytes hold, wherever in memory they begin.
fn elements<'a, const SIZE: usize, T>(
    bytes: &'a [u8],
    from: impl Fn([u8; SIZE]) -> T + 'a,
) -> impl Iterator<Item = T> + 'a {
    bytes.as_chunks::<SIZE>().0.iter().map(move |&element| from(element))
}

/// Sixteen-bit numbers as f32, a chunk at a time so that vector instructions do it.
fn widen<T: Copy>(bytes: &[u8], from: impl Fn([u8; 2]) -> T) -> Vec<f32>
where
    [T]: HalfFloatSliceExt,
{
    let mut values = Vec::with_capacity(bytes.len().div_ceil(2));
    let mut narrow = Vec::with_capacity(CHUNK);
    for chunk in bytes.chunks(2 * CHUNK) {
        narrow.clear();
        narrow.extend(elements(chunk, &from));
        let start = values.len();
        values.resize(start + narrow.len(), 0.0);
        narrow.convert_to_f32_slice(&mut values[start..]);
    }
    values
}
