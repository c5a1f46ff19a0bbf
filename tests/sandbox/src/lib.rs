//! Stand-ins for the systems around the plugin. Shares no code with the shipped binary.
