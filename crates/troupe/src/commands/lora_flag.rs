//! What `--lora` says.

use std::collections::BTreeMap;

use troupe_pipeline::PipelineError;

/// `FILE[:SCALE[,PART=SCALE…][:SUBJECT]]`.
#[derive(Debug, PartialEq)]
pub(super) struct LoraFlag<'a> {
    pub(super) path: &'a str,
    pub(super) scale: f64,
    /// What the scale is multiplied by in parts of the model.
    pub(super) blocks: BTreeMap<&'a str, f64>,
    pub(super) subject: Option<&'a str>,
}

impl<'a> LoraFlag<'a> {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub(super) fn parse(flag: &'a str) -> Result<Self, PipelineError> {
        let whole = Self { path: flag, scale: 1.0, blocks: BTreeMap::new(), subject: None };
        let Some((before, last)) = flag.rsplit_once(':') else { return Ok(whole) };
        let of = |path, (scale, blocks), subject| Self { path, scale, blocks, subject };
        if let Some(scales) = scales(last) {
            return Ok(of(before, scales, None));
        }
        let (path, scales) = before
            .rsplit_once(':')
            .filter(|_| !last.is_empty())
            .and_then(|(path, text)| Some((path, scales(text)?)))
            .ok_or_else(|| {
                PipelineError::Usage(format!(
                    "wanted --lora FILE, FILE:SCALE or FILE:SCALE:SUBJECT with a number, or one such as 0.8,text=0, and \
                     it is `{flag}`"
                ))
            })?;
        Ok(of(path, scales, Some(last)))
    }
}

/// `SCALE[,PART=SCALE…]`; `None` of anything else, and of a part twice.
fn scales(text: &str) -> Option<(f64, BTreeMap<&str, f64>)> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|it| it.is_finite());
    let mut parts = text.split(',');
    let scale = number(parts.next()?)?;
    let mut blocks = BTreeMap::new();
    for part in parts {
        let (part, scale) = part.split_once('=')?;
        if blocks.insert(part.trim(), number(scale)?).is_some() {
            return None;
        }
    }
    Some((scale, blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flag: &str, path: &str, scale: f64, blocks: &[(&str, f64)], subject: Option<&str>) {
        let blocks = blocks.iter().copied().collect();
        assert_eq!(LoraFlag::parse(flag).unwrap(), LoraFlag { path, scale, blocks, subject });
    }

    #[test]
    fn a_lora_flag_is_a_file_its_scales_and_whose_it_is() {
        check("a.safetensors", "a.safetensors", 1.0, &[], None);
        check("c:/a,b=1.safetensors:-0.5", "c:/a,b=1.safetensors", -0.5, &[], None);
        check("a:0.5:s2", "a", 0.5, &[], Some("s2"));
        check(
            "a:0.8,text=0,up_blocks.1=0.5",
            "a",
            0.8,
            &[("text", 0.0), ("up_blocks.1", 0.5)],
            None,
        );
        check("a:1,down=2:s1", "a", 1.0, &[("down", 2.0)], Some("s1"));
        for flag in
            ["a:much", "a:1,down", "a:1,down=x", "a:1,=:s1:", "a:nan", "a:1,up=1,up=2", "a:1:"]
        {
            assert!(LoraFlag::parse(flag).is_err(), "{flag}");
        }
    }
}
