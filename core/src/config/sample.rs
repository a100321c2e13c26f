//! A configuration as a file with comments.

use std::fmt::Write;

use toml::{Table, Value};

use super::Config;
use super::keys::{KEYS, Key};

const HEAD: &str = "\
# Sluice's configuration: every key of the engine with its value. Read over the defaults and under the environment
# (SLUICE_…) and the command line; docs/configuration.md has the rest.
";

impl Config {
    /// The file that says the same as this configuration, with what each key is and why its default is so.
    pub fn to_toml(&self) -> String {
        let mut text = HEAD.to_owned();
        let mut table = "";
        for key in KEYS {
            if key.table() != table {
                table = key.table();
                text += &format!("\n[{table}]\n");
            }
            let value = self.value(key);
            write!(text, "# {}\n# {}\n{} = {value}\n", key.meaning, key.reason, key.last())
                .expect("writing to a string does not fail");
        }
        text + &self.transport_tables()
    }

    /// The value of a key as the file has it: `"64MiB"`.
    pub fn value(&self, key: &Key) -> Value {
        let tables = Table::try_from(self).expect("every table is plain data");
        tables[key.table()][key.last()].clone()
    }

    fn transport_tables(&self) -> String {
        let mut transports = Table::new();
        for (transport, option, value) in self.layers.of_transports() {
            let table = transports.entry(transport).or_insert_with(|| Value::Table(Table::new()));
            let table = table.as_table_mut().expect("only tables are put in");
            table.insert(option.to_owned(), value.clone());
        }
        if transports.is_empty() {
            return "\n# [transport.<name>] has the keys of the transport of that name.\n".into();
        }
        let tables = Table::from_iter([("transport".to_owned(), Value::Table(transports))]);
        format!("\n{tables}")
    }
}
