//! `manifest.json`: what the host reads from it, and what it or the plugin repository refuses.

use std::cmp::Ordering;
use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A manifest that the host accepts.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Also the name of the plugin's folder.
    pub name: String,
    /// What the plugin page shows.
    pub display_name: String,
    /// The plugin's version.
    pub version: String,
    /// The lowest version of UISP that may enable the plugin.
    pub min_version: Option<String>,
    /// The highest version of UISP that may enable the plugin.
    pub max_version: Option<String>,
    /// The configuration form, top to bottom.
    pub fields: Vec<Field>,
    /// Items that the host adds to its menus.
    pub menu: Vec<MenuItem>,
    /// Frames that the host puts into its pages.
    pub widgets: Vec<Widget>,
}

/// One item of the host's menus; it leads to `public.php`.
#[derive(Clone, Debug)]
pub struct MenuItem {
    /// The menu it goes into, or a new one; the client zone has no such choice.
    pub category: Option<String>,
    /// What is clicked.
    pub label: String,
    /// In the client zone, not in the admin zone.
    pub is_for_clients: bool,
    /// Opens inside the host's page.
    pub is_framed: bool,
    /// The query of `public.php`.
    pub query: String,
}

/// One frame in a page of the host; it shows `public.php`.
#[derive(Clone, Debug)]
pub struct Widget {
    /// The page, and the place on it.
    pub position: String,
    /// The frame's height.
    pub height_px: u64,
    /// The query of `public.php`.
    pub query: String,
}

/// One field of the configuration form.
#[derive(Clone, Debug)]
pub struct Field {
    /// The name in `data/config.json`.
    pub key: String,
    /// The text beside the input.
    pub label: String,
    /// The text below the input.
    pub description: String,
    /// Whether the plugin can be enabled without a value.
    pub is_required: bool,
    /// Whether the value is a boolean; every other type of ours is text.
    pub is_checkbox: bool,
}

const INFORMATION: [&str; 6] = [
    "name",
    "displayName",
    "description",
    "url",
    "version",
    "author",
];
const TYPES: [&str; 7] = [
    "text", "textarea", "checkbox", "choice", "date", "datetime", "file",
];

const POSITIONS: [&str; 5] = [
    "dashboard",
    "client/overview",
    "client/service",
    "client-zone/dashboard",
    "client-zone/service",
];

impl Manifest {
    /// Reads a manifest as the host does.
    ///
    /// # Errors
    /// The first rule of the host that the manifest breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let json: Value =
            serde_json::from_slice(bytes).context("The manifest is not valid JSON.")?;
        // Old hosts accept this one value only; newer ones were seen to be laxer.
        ensure!(
            json["version"] == "1",
            "The manifest's version must be the string \"1\"."
        );

        let information = &json["information"];
        let text = |key: &str| -> Result<String> {
            let value = information[key].as_str().filter(|text| !text.is_empty());
            Ok(value
                .with_context(|| format!("The manifest lacks information.{key}."))?
                .to_owned())
        };
        for key in INFORMATION {
            text(key)?;
        }
        let name = text("name")?;
        ensure!(
            name.bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')),
            "The plugin's name may only have small letters, digits, \"_\" and \"-\"."
        );

        let compliancy = &information["unmsVersionCompliancy"];
        ensure!(
            compliancy["min"].is_string(),
            "The manifest lacks information.unmsVersionCompliancy.min."
        );
        ensure!(
            compliancy["max"].is_string() || compliancy.get("max") == Some(&Value::Null),
            "information.unmsVersionCompliancy.max must be a version or null."
        );

        let list = |key: &str| -> Result<&[Value]> {
            match &json[key] {
                Value::Null => Ok(&[]),
                Value::Array(items) => Ok(items),
                _ => anyhow::bail!("The manifest's {key} must be a list."),
            }
        };
        let fields: Vec<Field> = list("configuration")?
            .iter()
            .map(Field::parse)
            .collect::<Result<_>>()?;
        let menu: Result<_> = list("menu")?.iter().map(MenuItem::parse).collect();
        let widgets: Result<_> = list("widgets")?.iter().map(Widget::parse).collect();
        let keys: HashSet<&str> = fields.iter().map(|field| field.key.as_str()).collect();
        ensure!(
            keys.len() == fields.len(),
            "The manifest's configuration names a key twice."
        );

        Ok(Self {
            name,
            display_name: text("displayName")?,
            version: text("version")?,
            min_version: compliancy["min"].as_str().map(str::to_owned),
            max_version: compliancy["max"].as_str().map(str::to_owned),
            fields,
            menu: menu?,
            widgets: widgets?,
        })
    }

    /// Whether a host of this version may enable the plugin; both ends count as inside.
    #[must_use]
    pub fn complies_with(&self, host_version: &str) -> bool {
        let is_below = |left: &str, right: &str| compare_versions(left, right) == Ordering::Less;
        !self
            .min_version
            .as_deref()
            .is_some_and(|min| is_below(host_version, min))
            && !self
                .max_version
                .as_deref()
                .is_some_and(|max| is_below(max, host_version))
    }
}

impl Field {
    fn parse(json: &Value) -> Result<Self> {
        let text = |key: &str| {
            let value = json[key].as_str().filter(|text| !text.is_empty());
            value.with_context(|| format!("A configuration item lacks its {key}."))
        };
        Ok(Self {
            key: text("key")?.to_owned(),
            label: text("label")?.to_owned(),
            description: json["description"].as_str().unwrap_or_default().to_owned(),
            // Absent means required.
            is_required: !matches!(&json["required"], Value::Bool(false)) && json["required"] != 0,
            // The host turns an unknown type into text without a word.
            is_checkbox: json["type"] == "checkbox",
        })
    }
}

impl MenuItem {
    fn parse(json: &Value) -> Result<Self> {
        let is_one_of = |key: &str, values: [&str; 2]| -> Result<bool> {
            let value = json[key].as_str().filter(|value| values.contains(value));
            let value =
                value.with_context(|| format!("A menu item's {key} is none of {values:?}."))?;
            Ok(value == values[0])
        };
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        Ok(Self {
            category: text("key"),
            label: text("label").context("A menu item lacks its label.")?,
            is_for_clients: is_one_of("type", ["client", "admin"])?,
            is_framed: is_one_of("target", ["iframe", "blank"])?,
            query: query(&json["parameters"])?,
        })
    }
}

impl Widget {
    fn parse(json: &Value) -> Result<Self> {
        let position = json["position"].as_str().unwrap_or_default();
        ensure!(
            POSITIONS.contains(&position),
            "A widget has the unknown position {position:?}."
        );
        let height_px = json["iframeHeight"].as_u64().filter(|height| *height > 0);
        Ok(Self {
            position: position.to_owned(),
            height_px: height_px.context("A widget lacks its iframeHeight.")?,
            query: query(&json["iframeUrlParameters"])?,
        })
    }
}

/// The query that a map of parameters becomes.
fn query(parameters: &Value) -> Result<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    match parameters {
        Value::Null => {}
        Value::Object(parameters) => {
            for (key, value) in parameters {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                query.append_pair(key, &value);
            }
        }
        _ => anyhow::bail!("Parameters must be a map."),
    }
    Ok(query.finish())
}

/// What the public plugin repository's check and packer would say of a manifest, and types that
/// the host would silently turn into text.
#[must_use]
pub fn repository_problems(bytes: &[u8]) -> Vec<String> {
    let mut problems = Vec::new();
    let manifest = match Manifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{error:#}")],
    };
    let json: Value = serde_json::from_slice(bytes).unwrap_or_default();

    let name = &manifest.name;
    if !name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'-'))
    {
        problems.push(format!("the packer refuses digits in a name: {name}"));
    }
    let url = json["information"]["url"].as_str().unwrap_or_default();
    if url != format!("https://github.com/Ubiquiti-App/UCRM-plugins/tree/master/plugins/{name}")
        || url.len() > 255
    {
        problems.push(format!("not the plugin's address in the repository: {url}"));
    }
    for item in json["configuration"].as_array().into_iter().flatten() {
        if let Some(kind) = item.get("type")
            && !kind.as_str().is_some_and(|kind| TYPES.contains(&kind))
        {
            problems.push(format!("{} has the unknown type {kind}", item["key"]));
        }
    }
    problems
}

/// Compares versions made of numbers and dots, which are all that our manifest and UISP use.
fn compare_versions(left: &str, right: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        version
            .split('.')
            .map(|part| part.parse().unwrap_or(0))
            .collect()
    };
    numbers(left).cmp(&numbers(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Value {
        json!({
            "version": "1",
            "information": {
                "name": "sample",
                "displayName": "Sample",
                "description": "A sample.",
                "url": "https://github.com/Ubiquiti-App/UCRM-plugins/tree/master/plugins/sample",
                "version": "1.0.0",
                "author": "nobody",
                "unmsVersionCompliancy": {"min": "2.1.0", "max": null},
            },
            "configuration": [{"key": "a", "label": "A"}, {"key": "b", "label": "B", "required": 0, "type": "checkbox"}],
            "menu": [{"type": "admin", "target": "iframe", "key": "System", "label": "Sample", "parameters": {"a": "b c"}}],
            "widgets": [{"position": "dashboard", "iframeHeight": 200, "iframeUrlParameters": {"widget": 1}}],
        })
    }

    fn parse(json: &Value) -> Result<Manifest> {
        Manifest::parse(json.to_string().as_bytes())
    }

    #[test]
    fn reads_what_the_host_needs() {
        let manifest = parse(&sample()).unwrap();
        assert!(manifest.fields[0].is_required && !manifest.fields[0].is_checkbox);
        assert!(!manifest.fields[1].is_required && manifest.fields[1].is_checkbox);
        let (item, widget) = (&manifest.menu[0], &manifest.widgets[0]);
        assert!(item.is_framed && !item.is_for_clients && item.query == "a=b+c");
        assert!(widget.height_px == 200 && widget.query == "widget=1");
        assert!(repository_problems(sample().to_string().as_bytes()).is_empty());
    }

    #[test]
    fn refuses_what_the_host_refuses() {
        for (pointer, value) in [
            ("/version", json!("1.1")),
            ("/information/name", json!("Sample Plugin")),
            ("/information/author", json!(null)),
            ("/information/unmsVersionCompliancy", json!({"max": null})),
            ("/configuration/0/label", json!(null)),
            ("/configuration/1/key", json!("a")),
            ("/menu/0/type", json!("everybody")),
            ("/menu/0/target", json!(null)),
            ("/widgets/0/position", json!("somewhere")),
            ("/widgets/0/iframeHeight", json!("200px")),
        ] {
            let mut json = sample();
            *json.pointer_mut(pointer).unwrap() = value;
            assert!(parse(&json).is_err(), "{pointer}");
        }
    }

    #[test]
    fn compares_versions_by_number_and_inclusively() {
        let mut manifest = parse(&sample()).unwrap();
        assert!(
            manifest.complies_with("2.1.0")
                && manifest.complies_with("2.10.0")
                && !manifest.complies_with("2.0.9")
        );
        manifest.max_version = Some("2.4.0".to_owned());
        assert!(manifest.complies_with("2.4.0") && !manifest.complies_with("2.4.206"));
    }
}
