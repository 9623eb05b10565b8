data_dir = "/opt/nomad"
ports { http = 464600 }
server { enabled = true bootstrap_expect = 3 }
