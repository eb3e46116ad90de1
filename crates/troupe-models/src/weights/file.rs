//! One safetensors file: its checked header, and the numbers behind it.

use candle_core::{Device, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use super::header::{Entry, Header, printable};
use super::{Bytes, WeightsError};

/// How many elements are checked at a time.
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
        Ok(self.stored_from(key, start, count)?.widened())
    }

    /// As [`Self::values_from`], in the file's own precision.
    pub(crate) fn stored_from(
        &self,
        key: &str,
        start: usize,
        count: usize,
    ) -> Result<Stored, WeightsError> {
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
        self.stored(key, &part)
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
    pub(crate) fn values(&self, key: &str, entry: &Entry) -> Result<Vec<f32>, WeightsError> {
        Ok(self.stored(key, entry)?.widened())
    }

    /// The elements of a tensor in its own precision, all of them finite.
    ///
    /// The file is told that they were read, so that its pages don't stay in memory beside them.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else the format has or will have is refused"
    )]
    fn stored(&self, key: &str, entry: &Entry) -> Result<Stored, WeightsError> {
        let bytes = self.slice(entry)?;
        let stored = match entry.dtype {
            Dtype::F32 => Stored::F32(elements(bytes, f32::from_le_bytes).collect()),
            Dtype::F16 => Stored::F16(elements(bytes, f16::from_le_bytes).collect()),
            Dtype::BF16 => Stored::Bf16(elements(bytes, bf16::from_le_bytes).collect()),
            found => {
                return Err(WeightsError::Dtype {
                    file: self.name.clone(),
                    key: printable(key, 200),
                    found,
                });
            }
        };
        self.bytes.release(entry.range.clone());
        if stored.is_finite() {
            return Ok(stored);
        }
        Err(WeightsError::NotFinite { file: self.name.clone(), key: printable(key, 200) })
    }
}

/// The numbers that little-endian bytes hold, wherever in memory they begin.
fn elements<'a, const SIZE: usize, T>(
    bytes: &'a [u8],
    from: impl Fn([u8; SIZE]) -> T + 'a,
) -> impl Iterator<Item = T> + 'a {
    bytes.as_chunks::<SIZE>().0.iter().map(move |&element| from(element))
}

/// Numbers in the precision in which a file has them.
pub(crate) enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Stored {
    /// Whether no number is infinite or none.
    pub(super) fn is_finite(&self) -> bool {
        match self {
            Self::F32(values) => all(values, f32::is_finite),
            Self::F16(values) => all(values, |it| it.to_bits() & 0x7c00 != 0x7c00),
            Self::Bf16(values) => all(values, |it| it.to_bits() & 0x7f80 != 0x7f80),
        }
    }

    /// As f32.
    pub(crate) fn widened(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::F16(values) => widened(&values),
            Self::Bf16(values) => widened(&values),
        }
    }

    /// On the CPU.
    pub(crate) fn into_tensor(self, shape: &[usize]) -> Result<Tensor, candle_core::Error> {
        match self {
            Self::F32(values) => Tensor::from_vec(values, shape, &Device::Cpu),
            Self::F16(values) => Tensor::from_vec(values, shape, &Device::Cpu),
            Self::Bf16(values) => Tensor::from_vec(values, shape, &Device::Cpu),
        }
    }
}

pub(super) fn widened<T>(values: &[T]) -> Vec<f32>
where
    [T]: HalfFloatSliceExt,
{
    let mut wide = vec![0.0; values.len()];
    values.convert_to_f32_slice(&mut wide);
    wide
}

/// Whether it holds of all; without an early exit, so that the loop over a chunk is a few vector instructions.
fn all<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> bool {
    values.chunks(CHUNK).all(|chunk| chunk.iter().fold(true, |all, &value| all & holds(value)))
}
