//! What a PNG says of itself.
//!
//! Three chunks: `parameters` as AUTOMATIC1111's web UI writes it (tEXt where Latin-1 suffices, else iTXt); `troupe`, our
//! own iTXt with all that painting it again needs; and XMP with IPTC's digital source type, by which machines know a
//! generated picture. No time, host or path.

use std::io::Cursor;

use png::text_metadata::{ITXtChunk, TEXtChunk};

use crate::config::Metadata;

/// The keyword of XMP in a PNG's iTXt (XMP specification, part 3).
const XMP: &str = "XML:com.adobe.xmp";
/// IPTC's word for what a trained model made (cv.iptc.org/newscodes/digitalsourcetype).
const SOURCE_TYPE: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
/// The largest picture that is read: sides in pixels, and bytes of all text.
const LARGEST_SIDE: u32 = 16_384;
const LARGEST_PICTURE: usize = 256 << 20;
/// The most bytes that one compressed text may become.
const LARGEST_TEXT: usize = 16 << 20;

/// What A1111 keeps of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// The group prompt.
    pub prompt: String,
    /// The negative prompt.
    pub negative: String,
    /// Steps.
    pub steps: u32,
    /// The sampler in A1111's spelling.
    pub sampler: String,
    /// The schedule in A1111's spelling.
    pub schedule: Option<String>,
    /// Classifier-free guidance.
    pub guidance: f64,
    /// The seed of the noise.
    pub seed: u64,
    /// Whether PyTorch's generator on the CPU drew it, which A1111 calls RNG "CPU".
    pub torch_cpu: bool,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The first ten digits of the model's SHA-256.
    pub model_hash: String,
    /// What the model is called.
    pub model: String,
    /// Another autoencoder than the model's: file and hash.
    pub vae: Option<(String, String)>,
    /// Which layer of the text encoders was listened to: 1 is the last.
    pub clip_skip: usize,
    /// LoRAs: name and hash.
    pub loras: Vec<(String, String)>,
    /// Textual inversions that the prompts name: word and hash.
    pub embeddings: Vec<(String, String)>,
    /// Which program, which version.
    pub version: String,
}

/// What is in a PNG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PngContents {
    /// A1111's chunk.
    pub parameters: Option<String>,
    /// Our own chunk.
    pub troupe: Option<String>,
}

/// Why a PNG can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It can't be written.
    #[error("the picture can't be encoded as PNG: {0}")]
    Encode(#[from] png::EncodingError),
    /// It isn't a PNG.
    #[error("the picture can't be read as PNG: {0}")]
    Decode(#[from] png::DecodingError),
    /// It is larger than what we read.
    #[error(
        "wanted a picture of at most {LARGEST_SIDE} pixels a side, and this is {width}x{height}"
    )]
    TooLarge {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
}

impl Parameters {
    /// The text of the chunk `parameters`: prompt, negative prompt, and a line of settings.
    pub fn text(&self) -> String {
        let mut settings = vec![
            ("Steps", self.steps.to_string()),
            ("Sampler", self.sampler.clone()),
            ("CFG scale", self.guidance.to_string()),
            ("Seed", self.seed.to_string()),
            ("Size", format!("{}x{}", self.width, self.height)),
            ("Model hash", self.model_hash.clone()),
            ("Model", self.model.clone()),
        ];
        if let Some((vae, hash)) = &self.vae {
            settings.extend([("VAE hash", hash.clone()), ("VAE", vae.clone())]);
        }
        if 1 < self.clip_skip {
            settings.push(("Clip skip", self.clip_skip.to_string()));
        }
        if let Some(schedule) = &self.schedule {
            settings.insert(2, ("Schedule type", schedule.clone()));
        }
        for (key, named) in [("Lora hashes", &self.loras), ("TI hashes", &self.embeddings)] {
            // As A1111 does: a reader splits the list at these.
            let hashes = named
                .iter()
                .map(|(name, hash)| format!("{}: {hash}", name.replace([':', ','], "")));
            let hashes = hashes.collect::<Vec<_>>().join(", ");
            if !hashes.is_empty() {
                settings.push((key, hashes));
            }
        }
        if self.torch_cpu {
            settings.push(("RNG", "CPU".to_owned()));
        }
        settings.push(("Version", self.version.clone()));
        let settings: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
        let mut text = format!("{}\n", self.prompt);
        if !self.negative.is_empty() {
            text.extend(["Negative prompt: ", &self.negative, "\n"]);
        }
        text.push_str(&settings.join(", "));
        text
    }
}

/// A value with a comma, colon or newline in it, as JSON; `quote` in A1111's `infotext_utils.py`.
fn quoted(value: &str) -> String {
    if value.contains([',', '\n', ':']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}

/// Encodes a picture: `(height · width · 3)` bytes, row by row.
///
/// # Errors
///
/// If the bytes aren't as many.
pub fn encode_png(
    rgb: &[u8],
    (width, height): (u32, u32),
    level: Metadata,
    parameters: &Parameters,
    troupe: &str,
) -> Result<Vec<u8>, MetadataError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    match level {
        Metadata::Full => {
            let text = parameters.text();
            // A NUL would end the chunk; other controls are no Latin-1 text either.
            if text.chars().all(|it| u32::from(it) <= 0xff && (it == '\n' || !it.is_control())) {
                writer.write_text_chunk(&TEXtChunk::new("parameters", text))?;
            } else {
                writer.write_text_chunk(&ITXtChunk::new("parameters", text))?;
            }
            writer.write_text_chunk(&ITXtChunk::new("troupe", troupe))?;
            writer.write_text_chunk(&ITXtChunk::new(XMP, xmp()))?;
        }
        Metadata::Provenance => writer.write_text_chunk(&ITXtChunk::new(XMP, xmp()))?,
        Metadata::None => {}
    }
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}

fn xmp() -> String {
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description rdf:about=\"\" xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\" \
         Iptc4xmpExt:DigitalSourceType=\"{SOURCE_TYPE}\"/></rdf:RDF></x:xmpmeta>\n<?xpacket end=\"r\"?>"
    )
}

/// Reads the chunks of a PNG that may come from anywhere.
///
/// # Errors
///
/// If it isn't a PNG, or too large.
pub fn read_png(bytes: &[u8]) -> Result<PngContents, MetadataError> {
    let limits = png::Limits { bytes: LARGEST_PICTURE };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(bytes), limits).read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    if LARGEST_SIDE < width.max(height) {
        return Err(MetadataError::TooLarge { width, height });
    }
    // Text may stand behind the picture, too.
    reader.finish()?;
    let info = reader.info();
    let find = |keyword: &str| {
        let international = info.utf8_text.iter().find(|it| it.keyword == keyword);
        let latin = info.uncompressed_latin1_text.iter().find(|it| it.keyword == keyword);
        // `get_text` alone inflates without a limit.
        let bounded = international.cloned().and_then(|mut it| {
            it.decompress_text_with_limit(LARGEST_TEXT).ok()?;
            it.get_text().ok()
        });
        bounded.or_else(|| latin.map(|it| it.text.clone()))
    };
    Ok(PngContents { parameters: find("parameters"), troupe: find("troupe") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(prompt: &str) -> Parameters {
        Parameters {
            prompt: prompt.to_owned(),
            negative: "blurry".to_owned(),
            steps: 20,
            sampler: "DPM++ 2M".to_owned(),
            schedule: Some("Karras".to_owned()),
            guidance: 5.0,
            seed: 7,
            torch_cpu: false,
            width: 2,
            height: 1,
            model_hash: "0123456789".to_owned(),
            model: "starter".to_owned(),
            vae: None,
            clip_skip: 1,
            loras: vec![("night".to_owned(), "abcdefabcdef".to_owned())],
            embeddings: Vec::new(),
            version: "troupe 0.1.0".to_owned(),
        }
    }

    fn encoded(prompt: &str, level: Metadata) -> Vec<u8> {
        encode_png(&[0, 1, 2, 3, 4, 5], (2, 1), level, &parameters(prompt), "{\"ü\":1}").unwrap()
    }

    #[test]
    fn the_line_of_settings_is_a1111s() {
        assert_eq!(
            parameters("a group").text(),
            "a group\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, \
             Seed: 7, Size: 2x1, Model hash: 0123456789, Model: starter, Lora hashes: night: abcdefabcdef, \
             Version: troupe 0.1.0"
                .replace("Lora hashes: night: abcdefabcdef", "Lora hashes: \"night: abcdefabcdef\"")
        );
    }

    #[test]
    fn another_autoencoder_and_layer_are_named_behind_the_model() {
        let pair = |name: &str, hash: &str| (name.to_owned(), hash.to_owned());
        let vae = Some(pair("anime.safetensors", "0011223344"));
        let embeddings = vec![pair("fox: red", "001122334455"), pair("owl", "554433221100")];
        let text = Parameters { vae, embeddings, clip_skip: 2, ..parameters("a group") }.text();
        let wanted = "Model: starter, VAE hash: 0011223344, VAE: anime.safetensors, Clip skip: 2, \
            Lora hashes: \"night: abcdefabcdef\", \
            TI hashes: \"fox red: 001122334455, owl: 554433221100\", Version: ";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn noise_of_pytorch_is_what_a1111_calls_that_of_the_cpu() {
        let torch = Parameters { torch_cpu: true, ..parameters("a group") };
        assert!(torch.text().ends_with(", RNG: CPU, Version: troupe 0.1.0"));
    }

    #[test]
    fn prompts_of_any_script_come_back() {
        for prompt in ["a group", "größe é", "五人の医者 👩‍⚕️"] {
            let contents = read_png(&encoded(prompt, Metadata::Full)).unwrap();
            assert_eq!(contents.parameters, Some(parameters(prompt).text()));
            assert_eq!(contents.troupe.as_deref(), Some("{\"ü\":1}"));
        }
    }

    #[test]
    fn a_text_that_inflates_without_end_is_not_read() {
        for (length, found) in [(1 << 20, true), (LARGEST_TEXT + 1, false)] {
            let mut bytes = Vec::new();
            let mut writer = png::Encoder::new(&mut bytes, 1, 1).write_header().unwrap();
            let mut chunk = ITXtChunk::new("troupe", "a".repeat(length));
            chunk.compressed = true;
            writer.write_text_chunk(&chunk).unwrap();
            writer.write_image_data(&[0]).unwrap();
            writer.finish().unwrap();
            assert_eq!(read_png(&bytes).unwrap().troupe.is_some(), found, "{length} bytes");
        }
    }

    #[test]
    fn names_of_loras_hold_no_separators() {
        let mut parameters = parameters("a group");
        parameters.loras = vec![("a:b, c".to_owned(), "1".to_owned())];
        assert!(parameters.text().contains("Lora hashes: \"ab c: 1\""));
    }

    #[test]
    fn each_level_says_what_it_should() {
        let says = |level, what: &str| {
            let bytes = encoded("a group", level);
            bytes.windows(what.len()).any(|window| window == what.as_bytes())
        };
        assert!(says(Metadata::Full, SOURCE_TYPE) && says(Metadata::Full, "parameters"));
        assert!(says(Metadata::Provenance, SOURCE_TYPE));
        assert!(!says(Metadata::Provenance, "parameters") && !says(Metadata::Provenance, "troupe"));
        assert!(!says(Metadata::None, SOURCE_TYPE) && !says(Metadata::None, "troupe"));
    }

    #[test]
    fn a_broken_picture_is_an_error_and_no_panic() {
        let whole = encoded("a group", Metadata::Full);
        for end in 0..whole.len() - 12 {
            let _read = read_png(&whole[..end]);
        }
        for place in 0..whole.len() {
            let mut broken = whole.clone();
            broken[place] ^= 0x55;
            let _read = read_png(&broken);
        }
        assert!(read_png(&whole[..40]).is_err());
        assert!(read_png(b"PK\x03\x04").is_err());
    }
}
