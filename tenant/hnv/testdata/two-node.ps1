<#
  Two hosts, two customers with the same addresses.
  Blue is VSID 5001, Red is VSID 6001.
#>
Import-Module NetAdapter
Import-Module NetWnv

$Hosts = "host1",  "host2"     # <- the names of your hosts
$admin = "CONTOSO\hvadmin"
$nic   = "WNVNIC"

# [1] what every host knows
for ($i=0; $i -lt $Hosts.length; $i++) {
    Write-Host "Policy on", $Hosts[$i] -ForegroundColor Yellow
    Disable-NetAdapterBinding $nic -ComponentID "ms_netwnv" -CimSession $Hosts[$i]
    Enable-NetAdapterBinding  $nic -ComponentID "ms_netwnv" -CimSession $Hosts[$i]

    New-NetVirtualizationLookupRecord -VirtualSubnetID "5001" -CustomerAddress "10.0.0.5" -ProviderAddress "192.168.4.11" -MACAddress "060600000005" -Rule "TranslationMethodEncap"  -CimSession $Hosts[$i]
    New-NetVirtualizationLookupRecord -VirtualSubnetID "5001" -CustomerAddress "10.0.0.7" `
        -ProviderAddress "192.168.4.22" -MACAddress "060600000007" `
        -Rule "TranslationMethodEncap" -CimSession $Hosts[$i]
    New-NetVirtualizationCustomerRoute -RoutingDomainID "{11111111-2222-3333-4444-000000005001}" -VirtualSubnetID "5001" -DestinationPrefix "10.0.0.0/24" -NextHop "0.0.0.0" -Metric 255 -CimSession $Hosts[$i]

    New-NetVirtualizationLookupRecord –VirtualSubnetID “6001” –CustomerAddress “10.0.0.5” –ProviderAddress “192.168.4.11” –MACAddress “080800000005” –Rule “TranslationMethodEncap” –CimSession $Hosts[$i]
    New-NetVirtualizationLookupRecord –VirtualSubnetID “6001” –CustomerAddress “10.0.0.7” –ProviderAddress “192.168.4.22” –MACAddress “080800000007” –Rule “TranslationMethodEncap” –CimSession $Hosts[$i]
    New-NetVirtualizationCustomerRoute -RoutingDomainID "{11111111-2222-3333-4444-000000006001}" -VirtualSubnetID "6001" -DestinationPrefix "10.0.0.0/24" -NextHop "0.0.0.0" -Metric 255 -CimSession $Hosts[$i]
}

# [2] what each host has
$cred = Get-Credential $admin

$iface = Get-NetAdapter $nic -CimSession $Hosts[0]
New-NetVirtualizationProviderAddress -InterfaceIndex $iface.InterfaceIndex -ProviderAddress "192.168.4.11" -PrefixLength 24 -CimSession $Hosts[0]
Invoke-Command -ComputerName $Hosts[0] -Credential $cred {
    Get-VMNetworkAdapter "Blue1" | where {$_.MacAddress -eq "060600000005"} | Set-VMNetworkAdapter -VirtualSubnetID 5001;
    Get-VMNetworkAdapter "Red1"  | where {$_.MacAddress -eq "080800000005"} | Set-VMNetworkAdapter -VirtualSubnetID 6001;
}

$iface = Get-NetAdapter $nic -CimSession $Hosts[1]
New-NetVirtualizationProviderAddress -InterfaceIndex $iface.InterfaceIndex -ProviderAddress "192.168.4.22" -PrefixLength 24 -CimSession $Hosts[1]
Invoke-Command -ComputerName $Hosts[1] -Credential $cred {
    Get-VMNetworkAdapter "Blue2" | where {$_.MacAddress -eq "060600000007"} | Set-VMNetworkAdapter -VirtualSubnetID 5001;
    Get-VMNetworkAdapter "Red2"  | where {$_.MacAddress -eq "080800000007"} | Set-VMNetworkAdapter -VirtualSubnetID 6001;
}
