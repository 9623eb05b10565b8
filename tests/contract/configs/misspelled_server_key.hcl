data_dir = "/opt/nomad"
server { enabled = true bootstrap_expct = 3 }
