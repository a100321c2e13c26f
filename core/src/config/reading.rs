//! Reads a table of settings into a type, and says of which setting it was if that fails.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use toml::Value;

use super::error::ConfigError;
use super::layers::{Layers, Setting};

/// The table of this name, from all layers.
pub(super) fn table<T: DeserializeOwned>(layers: &Layers, name: &str) -> Result<T, ConfigError> {
    let settings = TableAccess { settings: layers.table(name), current: None };
    T::deserialize(serde::de::value::MapAccessDeserializer::new(settings)).map_err(|refusal| match refusal.of {
        Some(setting) => {
            let Setting { key, origin, .. } = *setting;
            ConfigError::Value { key, origin, problem: refusal.problem }
        }
        None => ConfigError::Table { table: name.to_owned(), problem: refusal.problem },
    })
}

/// What a type does not accept, and of which setting.
#[derive(Debug)]
struct Refusal {
    of: Option<Box<Setting>>,
    problem: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Refusal {}

impl Error for Refusal {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self { of: None, problem: problem.to_string() }
    }
}

impl From<toml::de::Error> for Refusal {
    fn from(error: toml::de::Error) -> Self {
        Self::custom(error.message())
    }
}

/// Settings as a map from their last name to their value.
struct TableAccess<'a, I> {
    settings: I,
    current: Option<&'a Setting>,
}

impl<'a, 'de, I: Iterator<Item = (&'a str, &'a Setting)>> MapAccess<'de> for TableAccess<'a, I> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((name, setting)) = self.settings.next() else { return Ok(None) };
        self.current = Some(setting);
        let name: StrDeserializer<'_, Refusal> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let setting = self.current.expect("a key comes before its value");
        let value = Given { value: setting.value.clone() };
        seed.deserialize(value).map_err(|refusal| Refusal { of: Some(Box::new(setting.clone())), ..refusal })
    }
}

/// A value as a layer gives it. Variables and flags give only text: where a number or a boolean is expected, the text of
/// one will do.
struct Given {
    value: Value,
}

impl Given {
    fn scalar(self) -> Value {
        let Value::String(text) = &self.value else { return self.value };
        let integer = text.parse().map(Value::Integer).ok();
        let boolean = || text.parse().map(Value::Boolean).ok();
        let float = || text.parse().map(Value::Float).ok();
        integer.or_else(boolean).or_else(float).unwrap_or(self.value)
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            Ok(self.scalar().$method(visitor)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Given {
    type Error = Refusal;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        Ok(self.value.deserialize_any(visitor)?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        Ok(self.value.deserialize_enum(name, variants, visitor)?)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}
