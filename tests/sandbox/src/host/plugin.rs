//! One installed plugin: its folder, its form, its runs.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::run::{EXECUTION_REQUEST, RUNNING_MARKER, run_hook};
use super::{Manifest, Outcome, PluginHost, Run, archive, config};

/// A plugin as the host's plugin page shows it.
#[derive(Clone, Debug)]
pub struct Plugin {
    host: PluginHost,
    root: PathBuf,
    manifest: Manifest,
    is_enabled: bool,
}

impl Plugin {
    pub(super) fn install(host: PluginHost, zip: &Path) -> Result<Self> {
        let manifest = Manifest::parse(&archive::read_manifest(zip)?)?;
        let root = host.folder.join(&manifest.name);
        ensure!(
            !root.exists(),
            "The plugin {} is installed already.",
            manifest.name
        );
        fs::create_dir_all(&root)?;
        archive::extract_like_php(zip, &root)?;
        let plugin = Self {
            host,
            root,
            manifest,
            is_enabled: false,
        };
        plugin.write_host_files()?;
        plugin.hook("hook_install.php")?;
        Ok(plugin)
    }

    pub(super) fn open(host: PluginHost, name: &str) -> Result<Self> {
        let root = host.folder.join(name);
        let bytes =
            fs::read(root.join("manifest.json")).context("Plugin manifest could not be found.")?;
        let plugin = Self {
            host,
            root,
            manifest: Manifest::parse(&bytes)?,
            is_enabled: true,
        };
        plugin.write_ucrm_json()?;
        plugin.link_into_web()?;
        Ok(plugin)
    }

    /// Uploads another ZIP of the same plugin over this one.
    ///
    /// Everything but `data/` is deleted and replaced. The plugin stays enabled only if every
    /// required field of the new manifest has a value already.
    ///
    /// # Errors
    /// The host's reason for refusing; the installed plugin is untouched then.
    pub fn update(&mut self, zip: &Path) -> Result<()> {
        let manifest = Manifest::parse(&archive::read_manifest(zip)?)?;
        ensure!(
            manifest.name == self.manifest.name,
            "The archive holds another plugin, {}.",
            manifest.name
        );
        ensure!(
            !self.is_running(),
            "The plugin is running and cannot be updated."
        );

        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true if entry.file_name() == "data" => {}
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        // Assumption: an archive's own data/ is left out of an update.
        archive::extract(zip, &self.root, |name| !name.starts_with("data"))?;
        self.manifest = manifest;
        self.is_enabled = self.is_enabled && self.missing_required()?.is_empty();
        self.write_host_files()?;
        self.link_into_web()?;
        self.hook("hook_update.php")?;
        Ok(())
    }

    /// The host that it is installed on.
    #[must_use]
    pub fn host(&self) -> &PluginHost {
        &self.host
    }

    /// The plugin's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The manifest of the installed version.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the host would start the plugin.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Enables the plugin.
    ///
    /// # Errors
    /// The manifest does not fit this host, or a required field is empty.
    pub fn enable(&mut self) -> Result<()> {
        let version = &self.host.version;
        ensure!(
            self.manifest.complies_with(version),
            "The plugin does not support UISP {version}."
        );
        let missing = self.missing_required()?;
        ensure!(
            missing.is_empty(),
            "Required fields are empty: {}.",
            missing.join(", ")
        );
        self.is_enabled = true;
        self.write_ucrm_json()?;
        self.link_into_web()?;
        self.hook("hook_enable.php")?;
        Ok(())
    }

    /// Adds a variable to the environment of everything started from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.host.environment.retain(|(known, _)| known != name);
        self.host
            .environment
            .push((name.to_owned(), value.to_owned()));
    }

    /// Moves UISP to another address, as a change of the host's settings does.
    ///
    /// # Errors
    /// `ucrm.json` cannot be written.
    pub fn set_unms_local_url(&mut self, url: &str) -> Result<()> {
        url.clone_into(&mut self.host.unms_local_url);
        self.write_ucrm_json()
    }

    /// The form as it stands when the page is opened: key and input, in the manifest's order.
    ///
    /// # Errors
    /// The stored configuration is no JSON object.
    pub fn form(&self) -> Result<Vec<(String, String)>> {
        let values = config::fit_to_manifest(&self.manifest, &config::read(&self.config_path())?);
        Ok(values
            .iter()
            .map(|(key, value)| (key.clone(), config::to_input(value)))
            .collect())
    }

    /// Opens the form, fills the given fields (for a checkbox, any text ticks it), and saves it.
    ///
    /// Returns what `hook_configure.php` did, if the plugin has one.
    ///
    /// # Errors
    /// The form's message, or a failure of the file system.
    pub fn save_form(&self, inputs: &[(&str, &str)]) -> Result<Option<Outcome>> {
        let mut form = self.form()?;
        for (key, input) in inputs {
            let field = form.iter_mut().find(|(known, _)| known == key);
            (*input).clone_into(
                &mut field
                    .with_context(|| format!("The form has no field {key}."))?
                    .1,
            );
        }
        self.submit_form(&form)
    }

    /// Saves a whole form, which may have been opened a while ago: it overwrites what the plugin
    /// wrote meanwhile, as on the real page.
    ///
    /// # Errors
    /// As [`Self::save_form`].
    pub fn submit_form(&self, form: &[(String, String)]) -> Result<Option<Outcome>> {
        let mut values = Map::new();
        for field in &self.manifest.fields {
            let input = form
                .iter()
                .find(|(key, _)| *key == field.key)
                .map_or("", |(_, input)| input);
            let value = config::from_input(field, input);
            ensure!(
                !(field.is_required && value.is_null()),
                "{} must not be empty.",
                field.label
            );
            values.insert(field.key.clone(), value);
        }
        config::write(&self.config_path(), &values)?;
        self.hook("hook_configure.php")
    }

    /// What `data/config.json` holds.
    ///
    /// # Errors
    /// The file is no JSON object.
    pub fn config(&self) -> Result<Map<String, Value>> {
        config::read(&self.config_path())
    }

    /// Starts a run, as the schedule does.
    ///
    /// # Errors
    /// The plugin is disabled, or its previous run has not ended.
    pub fn start(&self) -> Result<Run> {
        ensure!(self.is_enabled, "The plugin is not enabled.");
        Run::start(&self.host, &self.root)
    }

    /// Starts a run and waits for its end.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn execute(&self) -> Result<Outcome> {
        self.start()?.wait()
    }

    /// Whether a run that the host started has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.root.join(RUNNING_MARKER).exists()
    }

    /// Presses "Execute manually", which only plans a run.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn request_execution(&self) -> Result<()> {
        fs::write(self.root.join(EXECUTION_REQUEST), "")?;
        Ok(())
    }

    /// Whether a run is planned, by the button or by the plugin itself.
    #[must_use]
    pub fn is_execution_requested(&self) -> bool {
        self.root.join(EXECUTION_REQUEST).exists()
    }

    /// Starts the planned run, if there is one.
    ///
    /// Assumption: the request is taken away before the run starts, so that a request made by the
    /// run itself stays for the next one.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_requested(&self) -> Result<Option<Run>> {
        if !self.is_execution_requested() || self.is_running() {
            return Ok(None);
        }
        fs::remove_file(self.root.join(EXECUTION_REQUEST))?;
        self.start().map(Some)
    }

    /// The plugin's log, as the plugin page shows it.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.root.join("data/plugin.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Deletes the plugin.
    ///
    /// # Errors
    /// The plugin is running, or its folder cannot be deleted.
    pub fn remove(self) -> Result<()> {
        ensure!(
            !self.is_running(),
            "The plugin is running and cannot be removed."
        );
        self.hook("hook_remove.php")?;
        fs::remove_dir_all(&self.root)?;
        self.unlink_from_web()
    }

    /// What the web server serves of the plugin: links to `public.php` and `public/`, while it is enabled.
    #[must_use]
    pub fn web(&self) -> PathBuf {
        let plugins = self.host.folder.join(".web").join("_plugins");
        plugins.join(&self.manifest.name)
    }

    fn link_into_web(&self) -> Result<()> {
        self.unlink_from_web()?;
        if !self.is_enabled {
            return Ok(());
        }
        let web = self.web();
        fs::create_dir_all(&web)?;
        // The folder only where there is a page that it belongs to.
        for name in ["public.php", "public"] {
            let target = self.root.join(name);
            if target.exists() && self.root.join("public.php").exists() {
                symlink(fs::canonicalize(target)?, web.join(name))?;
            }
        }
        Ok(())
    }

    fn unlink_from_web(&self) -> Result<()> {
        match fs::remove_dir_all(self.web()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn hook(&self, name: &str) -> Result<Option<Outcome>> {
        run_hook(&self.host, &self.root.join(name))
    }

    fn config_path(&self) -> PathBuf {
        self.root.join("data/config.json")
    }

    fn missing_required(&self) -> Result<Vec<String>> {
        let values = self.config()?;
        let is_missing = |key: &str| values.get(key).is_none_or(Value::is_null);
        let fields = self
            .manifest
            .fields
            .iter()
            .filter(|field| field.is_required && is_missing(&field.key));
        Ok(fields.map(|field| field.label.clone()).collect())
    }

    /// Files that the host writes after unpacking.
    fn write_host_files(&self) -> Result<()> {
        config::write(
            &self.config_path(),
            &config::fit_to_manifest(&self.manifest, &self.config()?),
        )?;
        self.write_ucrm_json()
    }

    fn write_ucrm_json(&self) -> Result<()> {
        let values = json!({
            "ucrmPublicUrl": null,
            "ucrmLocalUrl": self.host.crm_local_url,
            "unmsLocalUrl": self.host.unms_local_url,
            "pluginPublicUrl": null,
            // Made when the plugin is first enabled.
            "pluginAppKey": self.is_enabled.then_some("test-plugin-app-key"),
            "pluginId": 1,
        });
        fs::write(self.root.join("ucrm.json"), serde_json::to_vec(&values)?)?;
        Ok(())
    }
}
