//! `licences third-party` prints THIRD-PARTY.md, `licences sbom` the bill of materials of the checkout in the current
//! folder; called by `build.sh`.

use anyhow::{Result, bail};
use sandbox::licences;

fn main() -> Result<()> {
    let checkout = std::env::current_dir()?;
    let crates = licences::crates(&checkout)?;
    match std::env::args().nth(1).as_deref() {
        Some("third-party") => print!("{}", licences::third_party(&crates)?),
        Some("sbom") => println!("{:#}", licences::bill_of_materials(&checkout, &crates)?),
        _ => bail!("usage: licences third-party|sbom"),
    }
    Ok(())
}
