//! The JSON schema of a brief, as the text that constrains a language model.
//!
//! It is made from the Rust type. The order of its properties is the order of the type's fields, whatever order
//! `serde_json` keeps its maps in (that is a feature which any crate of a build can switch on): the order is read off a
//! brief written as JSON. Everything is required and nothing else is allowed; references are inlined.

use std::fmt;

use schemars::generate::SchemaSettings;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use troupe_core::brief::{Brief, Formation, Kind, Shot, Stated};

use crate::grounding::Choices;

/// Keywords of a schema that are kept, in the order in which they are written.
const KEYWORDS: [&str; 8] =
    ["type", "enum", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"];

/// The schema of a brief, on one line.
pub fn brief_schema() -> String {
    schema(None)
}

/// The schema of the brief of one prompt: its texts are pieces of the prompt, its numbers are those that the prompt
/// names. For a prompt that is too long for that, [`brief_schema`].
pub fn grounded_schema(prompt: &str) -> String {
    schema(Choices::of(prompt).as_ref())
}

fn schema(choices: Option<&Choices>) -> String {
    let generator =
        SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<Brief>().to_value();
    if let Some(choices) = choices {
        narrow(&mut schema, choices);
    }
    let mut text = String::new();
    write(&schema, &order(), &mut text);
    text
}

/// Leaves of a brief's fields the values that a prompt leaves to choose from.
fn narrow(schema: &mut Value, choices: &Choices) {
    let people = "/properties/people/items/properties";
    for (field, values) in [
        (format!("{people}/number"), json!(choices.number)),
        (format!("{people}/noun"), json!(choices.noun)),
        (format!("{people}/stated/items/properties/what"), json!(choices.what)),
        (format!("{people}/stated/items/properties/of"), json!(choices.of)),
        ("/properties/activity".to_owned(), json!(choices.activity)),
        ("/properties/clothing".to_owned(), json!(choices.clothing)),
        ("/properties/setting".to_owned(), json!(choices.setting)),
        ("/properties/style".to_owned(), json!(choices.style)),
    ] {
        if let Some(field) = schema.pointer_mut(&field) {
            *field = json!({ "enum": values });
        }
    }
    if let Some(most) = schema.pointer_mut("/properties/people/maxItems") {
        *most = json!(choices.kinds);
    }
}

/// The keys of an object in the order in which they are written.
#[derive(Default)]
struct Keys(Vec<(String, Self)>);

/// The order of a brief's fields.
fn order() -> Keys {
    let stated = Stated { what: String::new(), of: None };
    let kind = Kind { number: None, noun: String::new(), stated: vec![stated] };
    let empty = String::new;
    let brief = Brief {
        people: vec![kind],
        activity: empty(),
        clothing: empty(),
        setting: empty(),
        style: empty(),
        formation: Formation::Auto,
        shot: Shot::FullBody,
    };
    serde_json::to_string(&brief).and_then(|text| serde_json::from_str(&text)).unwrap_or_default()
}

fn write(schema: &Value, keys: &Keys, text: &mut String) {
    text.push('{');
    let mut first = true;
    let mut member = |name: &str, text: &mut String| {
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        text.push_str(&Value::from(name).to_string());
        text.push(':');
    };
    // An enum whose variants are documented comes as a choice of constants.
    let constants = schema.get("oneOf").and_then(Value::as_array).map(|choices| {
        Value::from(choices.iter().filter_map(|it| it.get("const").cloned()).collect::<Vec<_>>())
    });
    if let Some(constants) = constants {
        member("enum", text);
        text.push_str(&constants.to_string());
    }
    for keyword in KEYWORDS {
        if let Some(value) = schema.get(keyword) {
            member(keyword, text);
            text.push_str(&value.to_string());
        }
    }
    if let Some(items) = schema.get("items") {
        member("items", text);
        write(items, keys, text);
    }
    if let Some(properties) = schema.get("properties") {
        member("properties", text);
        text.push('{');
        for (index, (key, inner)) in keys.0.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push(':');
            write(properties.get(key).unwrap_or(&Value::Null), inner, text);
        }
        text.push('}');
        member("required", text);
        let names: Vec<&str> = keys.0.iter().map(|(key, _)| key.as_str()).collect();
        text.push_str(&Value::from(names).to_string());
        member("additionalProperties", text);
        text.push_str("false");
    }
    text.push('}');
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some(entry) = map.next_entry::<String, Keys>()? {
            keys.push(entry);
        }
        Ok(Keys(keys))
    }

    /// A list is as its first item.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Keys, A::Error> {
        let keys = list.next_element::<Keys>()?.unwrap_or_default();
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(keys)
    }

    fn visit_str<E>(self, _: &str) -> Result<Keys, E> {
        Ok(Keys::default())
    }

    fn visit_unit<E>(self) -> Result<Keys, E> {
        Ok(Keys::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Keys, E> {
        Ok(Keys::default())
    }
}
