# A cloud with a gateway VM, set up by one script on the machine of the operator.
param([string]$Domain = "fabrikam", [int]$Vsid = 7000)

$vmHosts = @{ Name = "hv1"; PA = "192.168.0.22" }, @{ Name = "hv2"; PA = "192.168.0.23" }
$gw = @{ Name = "hvgw"; PA = "192.168.0.11" }
$rdid = "{12345678-1000-2000-3000-123456780002}"
$gatewayMac = "00-11-22-33-44-66"
$all = @()
foreach ($h in $vmHosts + $gw) { $all += $h.Name }
$sessions = New-CimSession -ComputerName $all

function Add-Vm ($name, $ca, $mac, [string]$pa, $subnet = $Vsid) {
    $params = @{
        CustomerAddress = $ca;  VirtualSubnetID = $subnet
        MACAddress      = $mac
        ProviderAddress = $pa
        Rule            = 'TranslationMethodEncap'
    }
    New-NetVirtualizationLookupRecord @params -VMName $name -CustomerID $Domain.ToUpper() -Session $sessions
}

# start over
Remove-NetVirtualizationCustomerRoute -CimSession $sessions
Remove-NetVirtualizationLookupRecord -CimSession $sessions
if (Get-NetVirtualizationProviderAddress -CimSession $sessions) { throw "there are still PAs" }

try {
    foreach ($h in $vmHosts + $gw) {
        $nic = Get-NetAdapter -Name "Cloud" -CimSession $h.Name
        New-NetVirtualizationProviderAddress -ProviderAddress $h.PA -InterfaceIndex $nic.InterfaceIndex -PrefixLength 24 -VlanID 103 -CimSession $h.Name
        New-NetVirtualizationProviderRoute -InterfaceIndex $nic.InterfaceIndex -DestinationPrefix 0.0.0.0/0 -NextHop 192.168.0.1 -CimSession $h.Name
    }
} catch { Write-Error $_ }

1..3 | ForEach-Object {
    $pa = if ($_ % 2) { $vmHosts[0].PA } else { $vmHosts[1].PA }
    Add-Vm ("app{0:D2}" -f $_) "10.0.1.$(100 + $_)" ("00155DE2AB{0:X2}" -f ($_ + 9)) $pa
}
Add-Vm -name gw -ca 10.0.2.2 -mac 00155DE2ABF0 -pa $gw.PA -subnet ($Vsid + 1)

# the gateways of the subnets, which no host has
Add-Vm gwrec 10.0.1.1 $gatewayMac 169.254.254.254
Add-Vm gwrec 10.0.2.1 $gatewayMac 169.254.254.254 7001
# all that is not in the cloud
New-NetVirtualizationLookupRecord -CustomerAddress 0.0.0.0 -VirtualSubnetID 7001 -MACAddress 00155DE2ABF0 -ProviderAddress $gw.PA -Rule TranslationMethodEncap -Type GatewayWildcard -CimSession $sessions
New-NetVirtualizationLookupRecord -CustomerAddress 2001:db8:ba::6 -VirtualSubnetID 7000 -MACAddress 00155DE2AB0A -ProviderAddress 192.168.0.22 -Rule TranslationMethodEncap -CimSession $sessions

$subnets = [ordered]@{ 7000 = "10.0.1.0/24"; 7001 = "10.0.2.0/24" }
foreach ($v in $subnets.Keys) {
    New-NetVirtualizationCustomerRoute -RoutingDomainID $rdid -VirtualSubnetID $v -DestinationPrefix $subnets[$v] -NextHop 0.0.0.0 -CimSession $sessions
}
New-NetVirtualizationCustomerRoute -RoutingDomainID $rdid -VirtualSubnetID 7000 -DestinationPrefix 2001:db8:ba::/64 -NextHop :: -CimSession $sessions
New-NetVirtualizationCustomerRoute -RoutingDomainID $rdid -VirtualSubnetID 7001 -DestinationPrefix 0.0.0.0/0 -NextHop 10.0.2.2 -Metric 10 -CimSession $sessions

# app03 has moved
Set-NetVirtualizationLookupRecord -CustomerAddress "10.0.1.103" -VirtualSubnetID 7000 -ProviderAddress 192.168.0.23 -CimSession $sessions
Get-NetVirtualizationLookupRecord -VirtualSubnetID 7000 -CimSession $sessions | Where-Object { $_.CustomerAddress -eq "10.0.1.102" } | Remove-NetVirtualizationLookupRecord
New-NetFirewallRule -DisplayName "ping" -Protocol ICMPv4
