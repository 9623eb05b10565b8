data_dir = "/var/lib/nomad"
bind_addr = "{{ GetInterfaceIP `eth0` }}"
advertise {
  http = "{{ GetInterfaceIP `eth0` }}"
  rpc  = "{{ GetInterfaceIP `eth0` }}:4647"
  serf = "{{ GetAllInterfaces | exclude `name` `docker|lo` | limit 1 | join `address` ` ` }}"
}
server { enabled = true bootstrap_expect = 3 }
