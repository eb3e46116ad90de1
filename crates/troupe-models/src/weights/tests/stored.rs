//! Tensors in the precision of their files, whose pages may go once they are read.

use std::sync::Mutex;

use candle_core::DType;

use super::*;

#[test]
fn what_is_stored_keeps_its_precision() {
    let weights = open(small()).unwrap().at("block");
    let stored = |name: &str, shape: &[usize]| {
        let tensor = weights.stored(name, shape).unwrap();
        let wide = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        assert_eq!(wide.to_vec1::<f32>().unwrap(), values(&weights, name, shape));
        tensor.dtype()
    };
    assert_eq!(stored("0.weight", &[3, 1]), DType::F32);
    assert_eq!(stored("0.bias", &[2]), DType::F16);
    assert_eq!(stored("1.weight", &[1, 2]), DType::BF16);
    assert!(weights.stored("0.bias", &[1]).is_err());
    assert!(weights.stored("2.bias", &[2]).is_err());
}

/// A file that knows what of it was released.
struct Released(Vec<u8>, Mutex<Vec<Range<usize>>>);

impl AsRef<[u8]> for Released {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Contents for Released {
    fn release(&self, range: Range<usize>) {
        self.1.lock().unwrap().push(range);
    }
}

#[test]
fn what_was_read_is_released() {
    let file = Arc::new(Released(small(), Mutex::default()));
    let weights = Weights::new("x.safetensors", file.clone()).unwrap();
    weights.stored("block.0.bias", &[2]).unwrap();
    weights.get("block.0.weight", &[3, 1]).unwrap();
    let released: Vec<usize> = file.1.lock().unwrap().iter().map(Range::len).collect();
    assert_eq!(released, [4, 12]);
}
