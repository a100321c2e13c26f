//! The file layer: each value with the line that it stands in.

use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::error::ConfigError;
use super::layers::{Origin, Setting};

/// The settings of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Setting>, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let mut file = File { path, text: &text, settings: Vec::new() };
    let root = DeTable::parse(&text).map_err(|error| file.syntax(&error))?;
    file.table("", root.into_inner())?;
    Ok(file.settings)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    settings: Vec<Setting>,
}

impl<'a> File<'a> {
    /// Tables are opened as deep as the engine knows them: `memory.bytes`, `transport.tcp.listen`.
    fn table(&mut self, above: &str, table: DeTable<'a>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let line = self.line(name.span().start);
            let key = if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
            let opens = above.is_empty() || above == "transport";
            match value.get_ref() {
                DeValue::Table(inner) if opens && !inner.is_empty() => self.table(&key, inner.clone())?,
                _ => self.value(key, line, value)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, key: String, line: usize, value: Spanned<DeValue<'a>>) -> Result<(), ConfigError> {
        let value = match value.get_ref() {
            DeValue::Table(table) if table.is_empty() => Value::Table(Table::new()),
            _ => Value::deserialize(ValueDeserializer::from(value)).map_err(|error| self.syntax(&error))?,
        };
        self.settings.push(Setting { key, value, origin: Origin::File { path: self.path.to_owned(), line } });
        Ok(())
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let line = self.line(error.span().map_or(0, |span| span.start));
        let problem = error.message().replace('\n', ", ");
        ConfigError::Syntax { path: self.path.to_owned(), line, problem }
    }

    /// The line of a byte, from 1.
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }
}
