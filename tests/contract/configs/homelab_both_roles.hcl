datacenter = "home"
data_dir   = "/srv/nomad"
bind_addr  = "{{ GetPrivateInterfaces | include \"network\" \"10.10.0.0/16\" | attr \"address\" }}"

server {
  enabled = true
  bootstrap_expect = 3
  server_join { retry_join = ["nas.home", "pi4.home:4648", "10.10.0.7"] }
}

client {
  enabled           = true
  network_interface = "{{ GetPrivateInterfaces | attr \"name\" }}"
  some_new_setting  = true
  options { docker.volumes.enabled = true docker.cleanup.image = false }
  meta { ssd = true rack = 7 cores = 1.50 }
  host_volume "media" { path = "/mnt/media" read_only = true }
}

plugin "docker" { config { allow_privileged = true } }
