data_dir = "/opt/nomad"
log_level = "WARN"
log_json = true
log_file = "/var/log/nomad/"
log_rotate_duration = "12h"
log_rotate_bytes = 10485760
log_rotate_max_files = 5
enable_syslog = true
syslog_facility = "LOCAL3"
server { enabled = true bootstrap_expect = 3 }
telemetry {
  collection_interval = "1s"
  statsd_address      = "127.0.0.1:8125"
  datadog_address     = "localhost:8125"
}
tls { tls_prefer_server_cipher_suites = true }
