//! What every main needs: telemetry, health, shutdown, settings
