data_dir = "/opt/nomad"
enable_syslog = true
syslog_facility = "LOCAL9"
server { enabled = true bootstrap_expect = 3 }
